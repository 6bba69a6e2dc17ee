"""What helps to type a command: `--help`, the manual page made of it, and what shells complete."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from socklb.cli import main, parser
from socklb.cli.manual import page
from socklb.command import Parser

NOBODY = 65534


def leaves(of: Parser) -> Iterator[Parser]:
    for verb in of.verbs:
        yield from list(leaves(verb)) or [verb]


VERBS = list(leaves(parser()))
EACH = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.prog)


@EACH
def test_every_verb_says_what_it_does_how_it_is_typed_and_how_it_ends(verb: Parser) -> None:
    text = verb.format_help()
    assert verb.description
    assert f"examples:\n  {verb.prog}" in text
    assert "exit codes:\n    0 done\n    1 failed" in text
    assert "  130 interrupted" in text


@EACH
def test_every_example_can_be_typed(verb: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.strip() for line in verb.format_help().splitlines() if line.startswith(f"  {verb.prog}")]
    assert lines
    for line in lines:
        typed = shlex.split(line.partition(" >")[0], comments=True)[1:]
        assert parser().read(typed).parser.prog == verb.prog


@EACH
def test_no_flag_can_be_abbreviated(verb: Parser) -> None:
    assert not verb.allow_abbrev


def test_only_status_and_check_have_exit_codes_of_their_own() -> None:
    assert [verb.prog for verb in VERBS if "    3 status: no agent runs" in verb.format_help()] == ["socklb status"]
    assert [verb.prog for verb in VERBS if "    5 check: " in verb.format_help()] == ["socklb check"]


class TestTheManualPage:
    def test_has_every_line_of_every_help(self) -> None:
        plain = page().replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")
        for verb in VERBS:
            assert f'.SS "{verb.prog}"\n.nf\n{verb.format_help()}' in plain

    def test_has_no_line_that_is_taken_for_a_request(self) -> None:
        known = (".TH ", ".SH ", ".SS ", ".nf", ".fi")
        assert [
            line for line in page().splitlines() if line.startswith((".", "'")) and not line.startswith(known)
        ] == []


class TestCompletion:
    def script(self, shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setattr("os.geteuid", lambda: NOBODY)  # it is for everybody
        assert main(["completion", shell]) == 0
        return capsys.readouterr().out

    @pytest.mark.parametrize(
        ("typed", "offered"),
        [
            ("socklb expl", {"explain"}),
            ("socklb s", {"status", "service", "socket"}),
            ("socklb service l", {"list"}),
            ("socklb status --w", {"--wait"}),
            ("socklb cleanup --w", set()),
            ("socklb completion ", {"bash", "zsh", "tcsh"}),
            ("socklb bugreport --output READ", {"README.md"}),
        ],
    )
    def test_of_bash_offers_what_there_is(
        self,
        typed: str,
        offered: set[str],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "README.md").touch()
        (tmp_path / "completion").write_text(self.script("bash", capsys, monkeypatch))
        words = typed.split(" ")
        asked = f". ./completion; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; "
        done = subprocess.run(
            ["bash", "-c", asked + '_shtab_socklb; printf "%s\\n" "${COMPREPLY[@]}"'],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert {word.strip() for word in done.stdout.splitlines()} - {""} == offered, done.stderr

    @pytest.mark.parametrize(("shell", "begin"), [("zsh", "#compdef socklb"), ("tcsh", "# AUTOMATICALLY GENERATED")])
    def test_of_others_is_made(
        self, shell: str, begin: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = self.script(shell, capsys, monkeypatch)
        assert made.startswith(begin)
        assert "explain" in made
