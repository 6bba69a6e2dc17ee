"""What the fuzz tests draw: values that surprise, good things with something wrong in them, and bytes.

Values come from a short list more often than at random: what breaks a reader is known, where it stands is not.

@FUZZ
@given(bent(any_service()))
"""

import json
import sys
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

# The same examples every time, and none that another run has left: a change that fails in CI fails here.
FUZZ = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=150,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

TEXTS = (
    *("", " ", "None", "null", "~", "true", "0", "-1", "1e999", "nan", "2026-11-29", "0x1F", "1_000"),
    *(
        "web\n",
        "a\tb",
        "\0",
        "\x1b[31mred\x1b[0m",
        "\u202etxt.exe",
        "\u2028",
        "\x85",
        "\ufeffweb",
        "ünïcödé",
        "网",
        "🦑",
    ),
    *("a" * 254, "'", '"', "`", "{{ .Values.x }}", "%s%n", "../../etc", "a/b/c", "Web", "-", "."),
    *("10.96.0.10", "010.096.0.1", "10.96.0.10 ", "127.1", "1.2.3.4/33", "0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
    *(
        "::",
        "::ffff:1.2.3.4",
        "fe80::1%eth0",
        "1::2::3",
        "[::1]",
        "::/0",
        "\uff11\uff12\uff17.0.0.1",
        "10.0.0.0/\uff18",
    ),
    *("TCP", "tcp", "IPv4", "IPv5", "Local", "LoadBalancer", "ClientIP", "VIP"),
)
NUMBERS = (0, -1, 1, 80, 65535, 65536, 2**31, 2**63, 2**64, -(2**64), 1.5, -0.0, 1e308, 1e-320)
SCALARS = st.one_of(
    st.sampled_from((None, True, False, *NUMBERS)),
    st.sampled_from(TEXTS),
    st.sampled_from(TEXTS),
    st.integers(),
    st.text(max_size=12),
    # Made when drawn: hypothesis prints strategies.
    st.builds("b".__mul__, st.sampled_from((1001, 20_000))),
    st.builds(pow, st.just(10), st.sampled_from((400, 5000))),
)
ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS) | st.text(max_size=8), inner),
    max_leaves=6,
)


def as_json(thing: Any) -> bytes:
    """The text, with integers of any length: Python writes none of more than 4300 digits by default."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(thing).encode()
    finally:
        sys.set_int_max_str_digits(before)


@st.composite
def bent(draw: st.DrawFn, good: st.SearchStrategy[Any], values: st.SearchStrategy[Any] = ANY) -> Any:
    """A good thing in which up to four values, at whatever depth, are exchanged, lost, doubled or added."""
    thing = deepcopy(draw(good))
    for _ in range(draw(st.integers(1, 4))):
        thing = _bent(draw, thing, values)
    return thing


def _bent(draw: st.DrawFn, thing: Any, values: st.SearchStrategy[Any]) -> Any:
    if not isinstance(thing, dict | list) or not thing:
        return draw(values)
    inside = list(thing) if isinstance(thing, dict) else range(len(thing))
    key = draw(st.sampled_from(inside))
    match draw(st.sampled_from(("deeper", "deeper", "deeper", "exchange", "lose", "double", "add"))):
        case "deeper":
            thing[key] = _bent(draw, thing[key], values)
        case "exchange":
            thing[key] = draw(values)
        case "lose":
            del thing[key]
        case "double" if isinstance(thing, list):
            thing.append(thing[key])
        case _ if isinstance(thing, dict):
            thing[draw(st.sampled_from((key, *TEXTS)))] = draw(values)
        case _:
            thing.append(draw(values))
    return thing


@st.composite
def spliced(draw: st.DrawFn, good: st.SearchStrategy[bytes], tokens: Sequence[bytes]) -> bytes:
    """Good bytes in which up to five stretches are replaced, removed, repeated, or followed by what means something."""
    data = draw(good)
    pieces = st.sampled_from(tokens) | st.binary(max_size=6)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.sampled_from((0, 0, 1, 2, 4, 40))))
        piece = data[at:end] * 2 if draw(st.integers(0, 7)) == 0 else draw(pieces)
        data = data[:at] + piece + data[end:]
    return data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 7)) == 0 else data
