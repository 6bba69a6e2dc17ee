"""The base of every error that socklb shows to a person.

    raise SocklbError("no such configuration", value=path, valid="a TOML file", hint="socklb agent --config FILE")

reads: no such configuration (/etc/x); valid: a TOML file; next: socklb agent --config FILE
"""

from __future__ import annotations

LONGEST = 1000  # characters of a part of a message: a configuration may have several mistakes


class SocklbError(Exception):
    """What failed, the value, what would be valid, what to do next; empty parts are left out."""

    def __init__(self, message: str, *, value: object = None, valid: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.value = value
        self.valid = valid
        self.hint = hint

    def __str__(self) -> str:
        """Format the parts in one line."""
        message = one_line(self.message)
        what = message if self.value is None else f"{message} ({short(self.value)})"
        parts = (what, self.valid and f"valid: {one_line(self.valid)}", self.hint and f"next: {one_line(self.hint)}")
        return "; ".join(part for part in parts if part)


def reason(error: BaseException) -> str:
    """Return an exception in one line: our messages say everything, for others the type is half of the information."""
    text = " ".join(str(error).split())
    return text if isinstance(error, SocklbError) else f"{type(error).__name__}: {text}".rstrip(": ")


def one_line(text: str, limit: int = LONGEST) -> str:
    """Return text that others may have written as one line of a terminal, which obeys none of it: blanks for the ends
    of lines, escapes for control characters, and an end.
    """
    long = len(text) > limit
    text = text[:limit]
    text = text if text.isprintable() else "".join(map(_printable, text))
    return f"{text[:limit]}…" if long or len(text) > limit else text


def short(value: object, limit: int = 80) -> str:
    """Return a value that was found, as a message shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"  # as JSON, YAML and TOML spell it
    return one_line(repr(value[: limit + 1]) if isinstance(value, str) else _number(value), limit)


def _printable(character: str) -> str:
    if character.isspace():
        return " "
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _number(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a number of thousands of digits"
