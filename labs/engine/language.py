"""The reader's language: from --lang, or the locale. The sources are in English; labs/locale has other languages.

    choose("zh-CN")                   for this command; None leaves it to the locale
    _("Step {number} is done.")       a message of the engine; .format(number=1) fills it
    told("w1 serves web")             a sentence composed elsewhere: a claim, an error, what is waited for

What labs record stays English, so that it can be judged and compared whoever recorded it. `told` finds a sentence by
its pattern in sentences.po: there {name} stands for any text, and {n}, {m} and {k} for a number. A sentence without a
pattern is returned as it is.
"""

import gettext as catalogues
import io
import os
import re
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import NamedTuple

ENGLISH, CHINESE = "en", "zh-CN"
LANGUAGES = (ENGLISH, CHINESE)
LOCALE = Path(__file__).parents[1] / "locale"
HOLE = re.compile(r"\{(\w+)\}")
_NUMBERS = ("n", "m", "k")
_chosen: ContextVar[str | None] = ContextVar("_chosen", default=None)


class Pattern(NamedTuple):
    matches: re.Pattern[str]
    said: str


def choose(name: str | None) -> None:
    """Set the language of this command."""
    _chosen.set(name)


def chosen() -> str:
    """Return the reader's language."""
    named = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    of_locale = CHINESE if next(filter(None, named), "").startswith("zh") else ENGLISH
    return _chosen.get() or of_locale


def gettext(message: str) -> str:
    """Return a message of the engine in the reader's language. It is imported as _."""
    return message if chosen() == ENGLISH else _messages(chosen()).gettext(message)


def told(sentence: str) -> str:
    """Return a composed sentence in the reader's language. The parts that fill a pattern may be such sentences
    themselves.
    """
    for pattern in () if chosen() == ENGLISH else _patterns(chosen()):
        if found := pattern.matches.fullmatch(sentence):
            return pattern.said.format(**{name: told(part) for name, part in found.groupdict().items()})
    return sentence


def catalogue(language: str, domain: str) -> Path:
    """Return the file of a language's messages (labs.po) or of its sentences (sentences.po)."""
    return LOCALE / language.replace("-", "_") / "LC_MESSAGES" / f"{domain}.po"


@cache
def _messages(language: str) -> catalogues.GNUTranslations:
    import polib  # noqa: PLC0415 - `lab exec` is typed often, and seldom says anything of its own

    return catalogues.GNUTranslations(io.BytesIO(polib.pofile(str(catalogue(language, "labs"))).to_binary()))


@cache
def _patterns(language: str) -> list[Pattern]:
    """Return the patterns, those with the most fixed text first."""
    import polib  # noqa: PLC0415

    entries = {entry.msgid: entry.msgstr for entry in polib.pofile(str(catalogue(language, "sentences")))}
    by_text = sorted(entries, key=lambda pattern: len(HOLE.sub("", pattern)), reverse=True)
    return [Pattern(_expression(pattern), entries[pattern]) for pattern in by_text]


def _expression(pattern: str) -> re.Pattern[str]:
    texts = HOLE.split(pattern)  # text and names of holes alternate
    parts = [re.escape(part) if at % 2 == 0 else _hole(part) for at, part in enumerate(texts)]
    return re.compile("".join(parts), re.DOTALL)


def _hole(name: str) -> str:
    return rf"(?P<{name}>\d[\d.,]*)" if name in _NUMBERS else f"(?P<{name}>.+?)"
