"""docs/performance.md and its pictures, from the file of a run or of the last one: `python -m bench page RUN.json`.

Everything of them is made: the words from performance.md.jinja, tables and plots from the figures. The run is kept as
docs/performance.json, so that the page can be made again, and compared with another run.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench import plots
from bench.columns import AGAIN, DEPLOYED, DIRECT, HOST_ROUTING, IPTABLES, NFTABLES
from bench.figures import tables
from bench.latency_report import with_services
from bench.peers.turn import ENOUGH
from bench.plots import Found
from bench.runs import FOLDER, ROOT, Run, read, text
from socklb.errors import SocklbError

PAGE, KEPT, PICTURES = ROOT / "docs/performance.md", ROOT / "docs/performance.json", ROOT / "docs/pictures"
COLUMNS = (DIRECT, AGAIN, DEPLOYED, HOST_ROUTING, NFTABLES, IPTABLES)


def main(path: Path | None = None) -> None:
    """Write the page, the pictures and the run."""
    for file, content in made(read(path or last())).items():
        file.write_text(content)
        print(file.relative_to(ROOT))


def last() -> Path:
    """Return the newest run."""
    runs = sorted(FOLDER.glob("*.json"))
    if not runs:
        raise SocklbError("there is no run of the bench", value=FOLDER, hint="make bench")
    return runs[-1]


def made(run: Run) -> dict[Path, str]:
    """Return the content of each file."""
    found = Found(run.figures)
    pictures = {PICTURES / name: picture for name, picture in plots.drawn(found).items()}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template("performance.md.jinja").render(
        machine=run.machine,
        parts=found.parts,
        table=partial(table, found),
        latency=partial(latency, found),
        most=partial(most, found),
        enough=f"{ENOUGH:.0f}",
    )
    return {PAGE: page, KEPT: text(run), **pictures}


def table(found: Found, part: str) -> str:
    """Return every table of a part."""
    return "\n\n".join(f"{title}:\n\n{one}" for title, one in tables(found.of_part(part)).items())


def latency(found: Found) -> str:
    """Return the table against `direct`, with the most Services that rules were measured with."""
    return tables(found.of_part("latency"), COLUMNS)[with_services(most(found))]


def most(found: Found) -> int:
    """Return that number of Services."""
    return max(count for count in found.counts if count <= 10_000)
