"""What can go wrong in a lab, kept apart: each kind has an exit code of its own.

A claim that is false is no error: it is a verdict (labs.engine.claims).
"""


class LabError(Exception):
    """Something the reader typed, or the lab's own files, cannot be used. Exit code 2."""

    exit_code = 2


class CannotRunError(LabError):
    """The lab cannot act: no cluster, a node out of reach, a command that does not end. Exit code 3."""

    exit_code = 3


class BrokenCaptureError(LabError):
    """The evidence itself is in doubt: a capture that did not start, lost packets or cannot be read. Exit code 4."""

    exit_code = 4


class NothingRecordedError(LabError):
    """A check asks for evidence that its step has not recorded (yet): its claim is false."""

    exit_code = 1
