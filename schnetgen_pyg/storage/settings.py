"""Settings that decide a result: what of them differs from those of an earlier one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from schnetgen_pyg.errors import InputError

#: Values longer than this (digests, say) are not quoted.
SHORT = 40


def as_json(settings: Mapping[str, Any]) -> Any:
    """Settings as they come back from JSON."""
    return json.loads(json.dumps(settings))


def differences(found: Any, wanted: Any) -> list[str]:
    """What differs between settings, both as JSON has them, in words."""
    before, now = _flat(found), _flat(wanted)
    names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    told = [_told(name, before.get(name), now.get(name)) for name in names]
    return told or ([] if found == wanted else ["of another kind"])


def require_same_settings(
    path: str | os.PathLike[str], found: Any, wanted: Mapping[str, Any], remove: str = "it"
) -> None:
    """Refuse to continue a file that was begun with other settings.

    Args:
        path: of the file.
        found: settings that it was begun with.
        wanted: those of now, both as JSON has them.
        remove: what has to go to begin anew.

    Raises:
        InputError: naming the settings that differ.
    """
    told = differences(found, wanted)
    if told:
        raise InputError(
            f"{path}: holds results of other settings ({', '.join(told)}); remove {remove}, or "
            "name another output"
        )


def _flat(settings: Any) -> dict[str, Any]:
    """One level of settings within settings beside the others."""
    result: dict[str, Any] = {}
    for name, value in settings.items() if isinstance(settings, dict) else ():
        result |= value if isinstance(value, dict) else {name: value}
    return result


def _told(name: str, before: Any, now: Any) -> str:
    texts = [json.dumps(value) for value in (before, now)]
    if max(map(len, texts)) > SHORT:
        return f"other {name}"
    return f"{name} was {texts[0]}, is now {texts[1]}"
