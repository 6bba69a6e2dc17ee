"""Descriptors of others' sockets: what is no socket any more is let go at once."""

from __future__ import annotations

import errno
import os
from contextlib import closing

import pytest

from socklb.sockets.descriptors import Holder, Pidfds


def test_a_number_that_is_another_files_by_now_is_not_held() -> None:
    """Since /proc was read, a process closed its socket and opened a pipe, whose reader waits for its end."""
    reading, writing = os.pipe()
    try:
        with closing(Pidfds()) as pidfds:
            try:
                with (
                    pytest.raises(OSError, match=os.strerror(errno.ENOTSOCK)),
                    pidfds.taken(Holder(os.getpid(), writing)),
                ):
                    raise AssertionError
            except PermissionError:
                pytest.skip("pidfd_getfd(2) is not allowed here")
        os.set_blocking(reading, False)
    finally:
        os.close(writing)
    assert os.read(reading, 1) == b"", "somebody still may write"
    os.close(reading)
