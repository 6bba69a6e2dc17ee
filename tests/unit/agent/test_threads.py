"""What several threads read at once."""

import subprocess
import sys

# msgspec learns a type when it is first needed, by a function of Python's: a profile sees which thread calls it.
READ = """
import sys, threading
import msgspec
from socklb.api import failures, lists, other_nodes
from socklb.api.reading import DECODERS, read
from socklb.api.resources import Resource

class Control(msgspec.Struct):
    a: int = 0

def told(frame, event, _):
    if event == "call" and frame.f_code.co_name == "get_class_annotations":
        print("learns", what)

def decode():
    global what
    for what in DECODERS:
        read(Resource(what, "/"), b'{"metadata": {"name": null}}')
    for what, decoder in {**vars(lists), **vars(failures), **vars(other_nodes)}.items():
        if isinstance(decoder, msgspec.json.Decoder):
            decoder.decode(b'{"type": "", "object": {}}')
    failures.error_event("server", "/", b"{}")
    what = "control"
    msgspec.json.decode(b"{}", type=Control)

threading.setprofile(told)
thread = threading.Thread(target=decode)
thread.start()
thread.join()
"""


def test_no_thread_is_the_first_to_need_a_type() -> None:
    """msgspec 0.22 ends the process with SIGSEGV where a garbage collection comes upon what another thread learns."""
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["learns control"]
