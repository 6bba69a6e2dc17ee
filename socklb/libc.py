"""The C library of this process, for calls that Python does not have.

    from socklb.libc import libc
    if libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ct.get_errno(), ...)

One handle for all: `ctypes.CDLL` makes a class for each one, of 3.5 KB, which only the garbage collector frees.
"""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
