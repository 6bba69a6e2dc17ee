"""`socklb completion`: print the script with which a shell completes verbs, flags and files. It needs no root.

socklb completion bash >/etc/bash_completion.d/socklb
socklb completion zsh >/usr/local/share/zsh/site-functions/_socklb
"""

from __future__ import annotations

import argparse

from socklb.cli.output import Verbs, say
from socklb.cli.usage import usage

SHELLS = ("bash", "zsh", "tcsh")


def add(verbs: Verbs, common: argparse.ArgumentParser) -> None:
    """Add the verb."""
    text = "print what has a shell complete this command"
    verb = verbs.add_parser("completion", parents=[common], help=text, **usage(__doc__))
    verb.add_argument("shell", choices=SHELLS, help="which shell")
    verb.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    import shtab  # noqa: PLC0415  (here, for the other verbs would pay for it)

    from socklb.cli import parser  # noqa: PLC0415  (as above: it has every verb)

    say(shtab.complete(parser(), arguments.shell))
    return 0
