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


def test_an_error_is_one_line_that_a_terminal_does_not_obey_whatever_others_wrote_into_it() -> None:
    error = SocklbError("no port is named \x1b[2Jx\n\u202ey", value="\x07", valid="a\nb", hint="c\td")
    assert str(error) == r"no port is named \x1b[2Jx \u202ey ('\x07'); valid: a b; next: c d"


def test_a_long_message_has_an_end_and_its_value_stands_after_it() -> None:
    assert str(SocklbError("x" * 5000, value=7)) == f"{'x' * 1000}… (7)"


def test_a_value_is_spelt_as_in_the_file_it_comes_from() -> None:
    assert str(SocklbError("no port", value=True)) == "no port (true)"
    assert str(SocklbError("no port", value=10**5000)) == "no port (a number of thousands of digits)"
