"""lab report [LAB...]: one page of what labs have recorded, with packets drawn, and captures that name Service and pod.

Without LAB: every lab that has recorded anything. The page is one file that loads nothing:
.lab/<inventory>/report/index.html, with the captures beside it as pcapng.

    lab report 01                 writes it
    lab report --live 01          serves it on 127.0.0.1 while `lab run 01` or `lab watch` is at work elsewhere
"""

import argparse
import shutil
from pathlib import Path
from threading import Event

from labs.engine.errors import LabError
from labs.engine.language import chosen
from labs.engine.language import gettext as _
from labs.engine.model import Lab, available, load
from labs.engine.report.live import serving
from labs.engine.report.page import Report
from labs.engine.screen import Screen
from labs.engine.stage import state_folder


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labs", metavar="LAB", nargs="*", help="its number, or its folder's name")
    parser.add_argument("--live", action="store_true", help="serve the page on 127.0.0.1, and renew it as steps finish")
    parser.add_argument("--port", type=int, default=0, help="of --live; without it, any that is free")


def run(options: argparse.Namespace) -> int:
    if options.port and not options.live:
        raise LabError(f"--port {options.port}: a file needs none. Next: lab report --live --port {options.port}")
    folder = state_folder()
    report = Report(_labs(options.labs, folder, live=options.live), folder)
    return _serve(report, options.port) if options.live else _write(report, folder / "report")


def _labs(named: list[str], folder: Path, *, live: bool) -> list[Lab]:
    names = named or [name for name in available() if live or (folder / name / "state.json").exists()]
    labs = [load(name, chosen()) for name in names]
    unrecorded = [lab.name for lab in labs if not live and not (folder / lab.name / "state.json").exists()]
    if unrecorded or not labs:
        lab = (unrecorded or available())[0]
        of = f" of {', '.join(unrecorded)}" if unrecorded else ""
        raise LabError(f"nothing is recorded{of} in {folder}. Next: lab run {lab.partition('-')[0]}")
    return labs


def _write(report: Report, folder: Path) -> int:
    shutil.rmtree(folder, ignore_errors=True)  # captures of an earlier page would belong to no step
    (folder / "captures").mkdir(parents=True)
    for name, data in report.captures():
        (folder / "captures" / name).write_bytes(data)
    page = folder / "index.html"
    page.write_text(report.html())
    Screen().line(_("Written: {address}").format(address=page.as_uri()))
    return 0


def _serve(report: Report, port: int) -> int:
    with serving(report, port) as address:
        Screen().line(_("Serving {address} until Ctrl-C. Run steps in another terminal.").format(address=address))
        try:
            Event().wait()
        except KeyboardInterrupt:
            Screen().line(_("The page is closed."))
    return 0
