"""What a person reads when something fails."""

import pytest

from socklb.errors import SocklbError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SocklbError("not root"), "not root"),
        (SocklbError("not root", value="uid 1000"), "not root ('uid 1000')"),
        (SocklbError("no port", value=0, valid="1 to 65535"), "no port (0); valid: 1 to 65535"),
        (SocklbError("no cgroup v2", hint="make doctor"), "no cgroup v2; next: make doctor"),
        (
            SocklbError("no port", value="x", valid="1 to 65535", hint="socklb status"),
            "no port ('x'); valid: 1 to 65535; next: socklb status",
        ),
    ],
)
def test_an_error_says_what_failed_the_value_what_is_valid_and_what_to_do_next(error: SocklbError, text: str) -> None:
    assert str(error) == text


def test_a_long_value_is_shortened() -> None:
    assert str(SocklbError("bad", value="x" * 1000)) == f"bad ('{'x' * 79}…)"
