"""How contracts say what is wrong."""


def expect(condition: object, message: str) -> None:
    """Raise an AssertionError, also where Python leaves out assertions."""
    if not condition:
        raise AssertionError(message)
