"""Programs of a node that are not what they say."""

from collections.abc import Iterator
from contextlib import contextmanager

from inventory.place import Place

EARLIER = "/usr/local/sbin"  # in every node's PATH before the real ones


@contextmanager
def impostor(node: Place, program: str, script: str) -> Iterator[None]:
    """Another program of this name, which $REAL continues as the real one."""
    real = node.output("sh", "-c", f"command -v {program}")
    file = f"{EARLIER}/{program}"
    text = f"#!/bin/sh\nREAL={real}\n{script}\n"
    assert node.run("sh", "-c", f"cat > {file} && chmod +x {file}", given=text).returncode == 0
    try:
        yield
    finally:
        node.output("rm", file)
