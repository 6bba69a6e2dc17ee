"""The fuzz tests for as long as one likes, guided by coverage: Atheris (libFuzzer) decides what hypothesis draws.

python -m tests.unit.fuzz.run --seconds 600 --seed 7            every test, one after the other
python -m tests.unit.fuzz.run --seconds 600 capture             those whose name has this in it

The same tests as those of `make test`, each in a process of its own, which libFuzzer ends when it finds something. What
was worth keeping is in build/fuzz/TEST/, and a next run begins with it.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from subprocess import run
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CORPORA = ROOT / "build" / "fuzz"
LONGEST = 8192  # bytes from which hypothesis draws: its own limit
SLOW, MEMORY = 300, 2048  # seconds, on busy cores, and MB that one example may take


def tests() -> dict[str, Callable[..., Any]]:
    """Every test of this folder that draws something, by its name."""
    modules = [import_module(f"tests.unit.fuzz.{file.stem}") for file in sorted(HERE.glob("test_*.py"))]
    return {name: one for module in modules for name, one in vars(module).items() if hasattr(one, "hypothesis")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="for all tests together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="be the process of one test")
    parser.add_argument("tests", nargs="*", metavar="PART", help="of a test's name; without it all")
    options = parser.parse_args()
    wanted = [name for name in tests() if not options.tests or any(part in name for part in options.tests)]
    if not wanted:
        parser.error(f"no test has {' or '.join(options.tests)} in its name; there are {', '.join(tests())}")
    if options.alone:
        fuzz(options.tests[0], options.seconds, options.seed)
    seconds = max(1, options.seconds // len(wanted))
    found = [name for name in wanted if alone(name, seconds, options.seed)]
    print(f"{len(wanted)} tests for {seconds} s each; {', '.join(found) or 'none'} found something", flush=True)
    return 1 if found else 0


def alone(name: str, seconds: int, seed: int) -> int:
    words = ["--alone", f"--seconds={seconds}", f"--seed={seed}", name]
    return run([sys.executable, "-m", "tests.unit.fuzz.run", *words], cwd=ROOT, check=False).returncode


def fuzz(name: str, seconds: int, seed: int) -> None:
    """Fuzz one test, and exit."""
    import atheris  # type: ignore[import-not-found]  # only build/fuzz-venv has it

    logging.disable()  # the agent warns of each bad object
    (CORPORA / name).mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={SLOW}", f"-rss_limit_mb={MEMORY}"]
    more = [f"-max_len={LONGEST}", f"-artifact_prefix={CORPORA / name}-", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup([name, *limits, *more, str(CORPORA / name)], tests()[name].hypothesis.fuzz_one_input)  # type: ignore[attr-defined]
    atheris.Fuzz()


if __name__ == "__main__":
    if "--alone" in sys.argv:
        import atheris  # type: ignore[import-not-found]

        with atheris.instrument_imports(include=["socklb", "labs"], enable_loader_override=False):
            tests()
    sys.exit(main())
