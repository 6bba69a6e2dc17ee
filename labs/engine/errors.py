"""Everything that can go wrong in a lab, kept apart: each kind has its own exit code.

A false claim is not an error but a verdict (labs.engine.claims).
"""


class LabError(Exception):
    """Something that the reader typed, or a file of the lab, cannot be used. Exit code 2."""

    exit_code = 2


class CannotRunError(LabError):
    """The lab cannot act: no cluster, an unreachable node, a command that does not end. Exit code 3."""

    exit_code = 3


class BrokenCaptureError(LabError):
    """The evidence itself is in doubt: a capture that did not start, lost packets or cannot be read. Exit code 4."""

    exit_code = 4


class NothingRecordedError(LabError):
    """A check asks for evidence that its step has not recorded (yet): its claim is false."""

    exit_code = 1
