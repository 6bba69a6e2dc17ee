"""Any file as the configuration: a configuration that can be used, or a line that names the key and what was found."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from socklb import config_file, listen_address
from socklb.api.addresses import Network
from socklb.config import KEYS, PATHS, Config, load
from socklb.errors import SocklbError, short
from tests.unit.fuzz.drawn import FUZZ, SCALARS, TEXTS, as_json, spliced
from tests.unit.fuzz.messages import judge

GOOD = b"""node = "w1"
api_servers = ["https://172.18.0.2:6443"]
cgroup = "/sys/fs/cgroup"
health_address = "[::]:10256"
metrics_services = ["shop/web"]
max_flows = 65536
pod_cidrs = ["10.244.0.0/16", "fd00:10:244::/56"]
bypass_cgroups = ["system.slice/proxy-*.service"]
host_routing = true
log_level = "debug"
"""
TOKENS = (
    *(
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\t",
        b"=",
        b"[",
        b"]",
        b"[[",
        b"{",
        b"}",
        b"'",
        b'"',
        b'"""',
        b"#",
        b".",
    ),
    *(
        b"[node]\n",
        b"[[uplinks]]\n",
        b"node.x = 1\n",
        b"x = " + b"[" * 400,
        b"x = " + b"{a=" * 400,
        b"9" * 5000,
        b"0x",
        b"inf",
    ),
    *(
        b'"\\u0000"',
        b'"\\ud800"',
        b'"\\n" = 1\n',
        b"1979-05-27T07:32:00Z",
        b"socket = 7\n",
        b'socket = "a\\u0000"\n',
        b"node = 1\n",
    ),
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3)


def toml(value: Any) -> str:
    """The value as TOML says it: JSON, but for what TOML has no word for."""
    return "nan" if value is None else as_json(value).decode().replace("\x7f", "\\u007f")


def loaded(data: bytes) -> Config | SocklbError:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "socklb.toml"
        path.write_bytes(data)
        try:
            config_file.agents_socket(path)
        except SocklbError as error:
            judge(str(error), names=str(path)[:80])
        try:
            found = load(path)
        except SocklbError as error:
            judge(str(error), names=str(path)[:80])
            return error
    can_be_used(found)
    return found


def can_be_used(found: Config) -> None:
    for key in PATHS:
        with suppress(OSError):  # a file that cannot be read is told where it is read
            Path(getattr(found, key) or "/nowhere").exists()
    for text in (*found.external_ips, *found.pod_cidrs, *found.native_cidrs):
        Network.parse(text)
    for key in ("health_address", "metrics_address"):
        listen_address.parse(key, getattr(found, key))
    assert found.node


@FUZZ
@given(st.sampled_from(KEYS), VALUES)
def test_a_value_of_a_key_is_taken_or_told(key: str, value: Any) -> None:
    data = f"{key} = {toml(value)}\n".encode()
    found = loaded(data if key == "node" else b'node = "w1"\n' + data)
    if isinstance(found, SocklbError) and "no TOML" not in found.message:
        assert key in found.message
        assert isinstance(value, bool | list | None) or not value or short(value) in found.message


@FUZZ
@given(st.dictionaries(st.sampled_from((*KEYS, *TEXTS)), VALUES, max_size=6))
def test_keys_that_there_are_and_others_are_taken_or_told(said: dict[str, Any]) -> None:
    found = loaded("".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in said.items()).encode())
    if isinstance(found, SocklbError) and "no TOML" not in found.message:
        assert all(key in found.message for key in said if key not in KEYS and key.isprintable() and len(key) < 80)


@FUZZ
@given(spliced(st.just(GOOD), TOKENS) | st.binary(max_size=40))
def test_any_bytes_are_a_configuration_or_told(data: bytes) -> None:
    loaded(data)
