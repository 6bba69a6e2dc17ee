"""The base of every error that socklb shows to a person.

    raise SocklbError("no such configuration", value=path, valid="a TOML file", hint="socklb agent --config FILE")

reads: no such configuration (/etc/x); valid: a TOML file; next: socklb agent --config FILE
"""

from __future__ import annotations


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
        what = self.message if self.value is None else f"{self.message} ({_short(self.value)})"
        parts = (what, self.valid and f"valid: {self.valid}", self.hint and f"next: {self.hint}")
        return "; ".join(part for part in parts if part)


def reason(error: BaseException) -> str:
    """Return an exception in one line: our messages say everything, for others the type is half of the information."""
    text = " ".join(str(error).split())
    return text if isinstance(error, SocklbError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _short(value: object, limit: int = 80) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
