"""Input that cannot be used, said so that a person can mend it."""

from __future__ import annotations


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Refuse a setting: the message names it, its value and what is expected."""
    if not condition:
        raise InputError(f"{name} must be {expected}, got {value}")


class InputError(ValueError):
    """Input that cannot be used; the message names what is wrong, where, and the way out."""
