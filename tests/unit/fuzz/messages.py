"""What every message must be, whatever it is about: one sentence that a person can read in a terminal.

judge(problem)
judge(str(error), names="spec.ports[0].port")
"""

import re

LONGEST = 3000  # characters: a configuration may have a mistake in every key
# What stands in quotes is the value that was found; one that is cut off has no closing quote.
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*(?:'|…)|"(?:[^"\\]|\\.)*(?:"|…)|`[^`]*`""")
_VALID_NONE = ("None, ClientIP", "None: headless", "'None'")  # Kubernetes' own words
_PYTHON = re.compile(
    r"(?<!/)\b(None|True|False|Traceback|NoneType|mappingproxy|msgspec|Struct)\b|<class |<.* object|\bat 0x[0-9a-f]+"
    r"|\b[A-Za-z]*(Error|Exception)\b|line \d+, in |\b(str|int|float|bool|dict|tuple)\b|\bsys\."
)


def judge(text: str, *, names: str = "") -> None:
    """Fail unless it is a sentence that has these words."""
    assert text.strip(), "says nothing"
    assert text.isprintable(), f"has what no line of a terminal may have: {text!r}"
    assert len(text) <= LONGEST, f"{len(text)} characters: {text[:200]!r}…"
    plain = text
    for word in _VALID_NONE:
        plain = plain.replace(word, "")
    told = _PYTHON.search(_QUOTED.sub("", plain))
    assert not told, f"speaks Python ({told[0]}): {text!r}"
    assert names in text, f"does not name {names!r}: {text!r}"
