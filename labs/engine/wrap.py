"""Text in lines of a terminal's columns. A Chinese character takes two, and a line may end behind each of them."""

import re

from rich.cells import cell_len

_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
_OPENS, _CLOSES = "（「《【“", "，。、；：？！）」》】”"  # none ends a line, none begins one
_PIECE = re.compile(rf"\s*[{_OPENS}]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPENS}{_CLOSES}]+)?[{_CLOSES}]*|\s+")


def wrap(text: str, width: int, hanging: str = "") -> list[str]:
    """Return the text in lines, the second and later ones indented by `hanging`. A longer word is not broken."""
    lines = [""]
    for piece in _PIECE.findall(text.rstrip()):
        if lines[-1].strip() and cell_len(lines[-1] + piece) > width:
            lines.append(hanging + piece.lstrip())
        else:
            lines[-1] += piece
    return lines if lines != [""] else []
