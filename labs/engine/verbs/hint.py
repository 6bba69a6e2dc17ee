"""lab hint: the next of three hints for the open step; the last one says almost all."""

import argparse

from labs.engine.guide import open_guide


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments."""
    del parser


def run(_options: argparse.Namespace) -> int:
    guide = open_guide()
    guide.screen.prose(guide.hint())
    return 0
