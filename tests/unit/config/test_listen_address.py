"""Addresses to listen at, as the configuration writes them."""

from pathlib import Path

import pytest

from socklb import config
from socklb.errors import SocklbError
from socklb.listen_address import ListenAddress, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:10249", ListenAddress("127.0.0.1", 10249)),
        ("[::]:10256", ListenAddress("::", 10256)),
        ("[::1]:0", ListenAddress("::1", 0)),
        ("", None),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, expected: ListenAddress | None) -> None:
    assert parse("health_address", text) == expected
    assert expected is None or str(expected) == text


@pytest.mark.parametrize(
    "text",
    [
        *("10256", ":10256", "localhost:10256", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1"),
        *("127.0.0.1:٣", "::1:10256", "[127.0.0.1]:10256", "[::1:10256", "[::]", "300.0.0.1:80"),
        *("127.0.0.1:" + "9" * 5000, "127.0.0.1:" + "0" * 5000),
    ],
)
def test_what_is_no_address_is_refused_with_what_would_be_valid(text: str) -> None:
    with pytest.raises(SocklbError) as caught:
        parse("health_address", text)
    assert "health_address" in str(caught.value)
    assert caught.value.value == text
    assert "127.0.0.1:10249 or [::]:10256" in caught.value.valid
    assert caught.value.hint


@pytest.mark.parametrize("key", ["health_address", "metrics_address"])
def test_a_configuration_with_such_an_address_is_not_loaded(tmp_path: Path, key: str) -> None:
    file = tmp_path / "socklb.toml"
    file.write_text(f'node = "w1"\nmanifests = "/m"\n{key} = "here"\n')
    with pytest.raises(SocklbError, match=key):
        config.load(file)
