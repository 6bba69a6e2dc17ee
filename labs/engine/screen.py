"""The reader's output: plain lines of at most 80 columns, with colour only on a terminal that wants it.

Rich decides that: no escape sequences if standard output is not a terminal, no colour under NO_COLOR. There are no
animations and no questions, so a log of a run reads like the run.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from labs.engine.capture import Capture
from labs.engine.claims import Claim, Verdict
from labs.engine.ladder import WIDTH, ladder
from labs.engine.language import gettext as _
from labs.engine.language import told
from labs.engine.places import Output
from labs.engine.prose import paragraphs
from labs.engine.wrap import wrap

MARKS = {
    Verdict.TRUE: ("✓", "green"),
    Verdict.FALSE: ("✗", "bold red"),
    Verdict.DOUBT: ("?", "bold yellow"),
    Verdict.SKIPPED: ("-", "dim"),
}
LINES = 14  # of a command's output


class Paper(Console):
    """The console. A reader that has seen enough (`lab run 01 | head`) does not change what is done and how it is
    judged.
    """

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class Screen:
    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Paper(width=WIDTH, highlight=False, markup=False, emoji=False)

    def line(self, text: str = "", style: str = "") -> None:
        self._console.print(Text(text, style), soft_wrap=True)

    def heading(self, text: str) -> None:
        self.line()
        self.line(f"{text} " + "─" * (WIDTH - cell_len(text) - 1), "bold")

    def prose(self, markdown: str) -> None:
        for paragraph in paragraphs(markdown):
            self.line()
            self._wrapped(paragraph, hanging="  " if paragraph.startswith("- ") else "")

    def command(self, done: Output, lines: int = LINES) -> None:
        self.line()
        self.line(f"$ {done.typed}", "bold cyan")
        said = (done.out + done.err).rstrip().splitlines()
        for text in said[:lines]:
            self.line(f"  {text}")
        if len(said) > lines:
            self.line("  " + _("… {count} more lines").format(count=len(said) - lines))
        if done.exit:
            self.line("  " + _("(exit status {status})").format(status=done.exit), "dim")

    def capture(self, capture: Capture, file: Path, fold: int) -> None:
        self.line()
        self.line(f"$ {capture.command}", "bold cyan")
        for text in ladder(capture.packets, capture.names, fold):
            self.line(text)
        self.line("    " + _("again: {command}").format(command=f"tcpdump -nr {os.path.relpath(file)}"), "dim")

    def claims(self, claims: Iterable[Claim]) -> None:
        self.line()
        for claim in claims:
            mark, style = MARKS[claim.verdict]
            self._wrapped(f"{mark} {told(claim.must)}", hanging="  ", style=style)
            self._wrapped(f"    {told(claim.seen)}", hanging="    ", style="dim")

    def _wrapped(self, text: str, hanging: str, style: str = "") -> None:
        for line in wrap(text, WIDTH, hanging):
            self.line(line, style)
