"""Text in lines of a terminal's columns. A Chinese character takes two, and a line may end after each of them."""

import re

from rich.cells import cell_len

_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_OPENS, _CLOSES = "（「《【“", "，。、；：？！）」》】”"  # never at the end of a line, never at its beginning
_PIECE = re.compile(rf"\s*[{_OPENS}]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPENS}{_CLOSES}]+)?[{_CLOSES}]*|\s+")


def wrap(text: str, width: int, hanging: str = "") -> list[str]:
    """Return the text in lines, all but the first indented by `hanging`. A word that is too long is not broken."""
    lines = [""]
    for piece in _PIECE.findall(text.rstrip()):
        if lines[-1].strip() and cell_len(lines[-1] + piece) > width:
            lines.append(hanging + piece.lstrip())
        else:
            lines[-1] += piece
    return lines if lines != [""] else []
