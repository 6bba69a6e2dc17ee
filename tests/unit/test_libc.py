"""socklb/libc.py: each handle of a library is a class of its own, which waits for the garbage collector."""

import gc
from pathlib import Path

from socklb.datapath import barrier
from socklb.memory import give_back

PACKAGE = Path(__file__).parents[2] / "socklb"


def test_what_is_called_for_each_change_leaves_nothing_to_collect() -> None:
    """3.5 KB a change, before: the agent collects so rarely that they were tens of MB."""
    barrier.order_stores()
    give_back()
    gc.collect()
    for _ in range(100):
        barrier.order_stores()
        give_back()
    assert gc.collect() < 100


def test_nobody_makes_another_handle() -> None:
    makers = [path.name for path in PACKAGE.rglob("*.py") if "CDLL(None" in path.read_text()]
    assert makers == ["libc.py"]
