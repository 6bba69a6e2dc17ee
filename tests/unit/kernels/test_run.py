"""What `make kernels` makes of what emulated machines tell."""

import lzma
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from socklb.errors import SocklbError
from tests.kernels import boot, run
from tests.kernels.initramfs import Entry, Kernel, archive
from tests.kernels.inside import MARK, Part, outcome
from tests.kernels.run import HEAD, PARTS, SUITES, Run, main

RELEASE = "6.1.0-56-cloud-amd64"
FACTS = f'{MARK}{{"kind": "facts", "release": "{RELEASE}", "hooks": "h.o", "packets": "p.o", "attached_by": "clsact"}}'
ROW = "| bookworm-security | 6.1 | h.o | p.o | clsact |"
REPORT = """<testsuites><testsuite>
<testcase classname="a" name="passes"/>
<testcase classname="a" name="lacks"><skipped message="tcx links (Linux 6.6): without it"/></testcase>
<testcase classname="a" name="skips"><skipped message="no root"/></testcase>
<testcase classname="a" name="fails"><failure message="assert 1 == 2"/></testcase>
<testcase classname="a" name="breaks"><error message="no fixture"/></testcase>
</testsuite></testsuites>"""


def test_a_test_may_be_skipped_for_a_feature_of_kernels_alone() -> None:
    part = outcome("sockets", REPORT)
    assert part.passed == 1
    assert set(part.skipped) == {"a::lacks"}
    assert set(part.failed) == {"a::skips", "a::fails", "a::breaks"}


@pytest.mark.parametrize("report", ["", "<testsuites/>"])
def test_no_test_at_all_is_a_failure(report: str) -> None:
    assert outcome("sockets", report).failed == {"all": "no test ran"}


def told(*parts: str) -> Run:
    found = Run()
    for line in ("booting", FACTS, *(f'{MARK}{{"kind": "part", "name": "{part}", "passed": 2}}' for part in parts)):
        found.read(line)
    return found


def test_a_kernel_on_which_all_passes_is_a_line_of_the_table() -> None:
    found = told(*PARTS)
    assert found.failures == []
    assert found.row("bookworm-security") == f"{ROW} passed | passed | passed | passed |"
    found.parts["agent"] = Part("agent", 2, skipped={"a": "x"})
    assert found.row("bookworm-security") == f"{ROW} passed | passed | passed | passed, 1 lack a feature |"


def test_a_part_that_gives_no_result_failed() -> None:
    found = told(*PARTS[:-1])
    assert found.failures == ["agent: no result, exit code None"]
    assert found.row("bookworm-security").endswith("| passed | FAILED |")


@pytest.mark.parametrize(("console", "crashed"), [("Kernel panic - not syncing", True), ("", False)])
def test_a_machine_that_panicked_is_told_from_one_that_took_too_long(console: str, *, crashed: bool) -> None:
    assert Run(console=console).crashed is crashed
    assert not Run(console=console, exit_code=0).crashed


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands in the document, for a run in which every kernel passes all."""
    monkeypatch.setattr(run, "DOCUMENT", tmp_path / "kernels.md")
    monkeypatch.setattr(run, "tried", lambda _suite: told(*PARTS))  # pyright: ignore[reportUnknownLambdaType]
    rows = [told(*PARTS).row(suite.name) for suite in SUITES if suite.gates]
    run.DOCUMENT.write_text("\n".join([HEAD, *rows]))
    return run.DOCUMENT


def test_what_the_document_says_is_checked(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    document.write_text(document.read_text().replace("| 6.1 |", "| 6.2 |"))
    assert main([]) == 1
    assert f"bookworm-security: docs/kernels.md has no line: {ROW}" in capsys.readouterr().out


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_a_suite_that_cannot_be_had_is_told_loudly_and_fails_unless_it_only_reports(
    document: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, suite: run.Suite
) -> None:
    def tried(name: str) -> Run:
        if name == suite.name:
            raise SocklbError("no kernel of this suite of Debian can be had", value=name)
        return told(*PARTS)

    monkeypatch.setattr(run, "tried", tried)
    assert main([]) == (1 if suite.gates else 0)
    assert f"!!! {suite.name}: NOT TRIED: no kernel of this suite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "code", "line"),
    [
        (Part("asked", 2), 0, "bookworm-security: 2 passed, 0 skipped"),
        (Part("asked", 1, failed={"a::b": "why"}), 1, "a::b"),
        (None, 1, "all"),
    ],
)
def test_tests_of_ones_choice_run_on_a_suites_kernel(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    part: Part | None,
    code: int,
    line: str,
) -> None:
    asked: list[str] = []

    def booted(_kernel: Kernel, _log: Path, words: Sequence[str]) -> Run:
        asked.extend(words)
        return Run(parts={"asked": part} if part else {})

    monkeypatch.setattr(run, "fetched", lambda _suite: tmp_path)  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setattr(run, "booted", booted)
    unpacked(tmp_path)
    assert main(["bookworm-security", "--tests", "tests/tc", "-k", "one"]) == code
    assert asked == ["tests/tc", "-k", "one"]
    assert line in capsys.readouterr().out


def test_without_qemu_the_reason_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "QEMU", tmp_path / "no-qemu")
    with (
        pytest.raises(SocklbError, match=r"booted with QEMU 7\.2 of Debian 12.*no-qemu.*apt-kernels\.txt"),
        boot.Machine(unpacked(tmp_path), "true", seconds=1),
    ):
        pass


def unpacked(folder: Path, module: Callable[[bytes], bytes] = bytes) -> Kernel:
    modules = folder / "lib" / "modules" / RELEASE
    modules.mkdir(parents=True)
    names = ("net/virtio-net.ko.xz", "virtio.ko.xz", "ring.ko.xz")
    for name in names:
        (modules / name).parent.mkdir(exist_ok=True)
        (modules / name).write_bytes(module(name.encode()))
    (modules / "modules.dep").write_text("net/virtio-net.ko.xz: virtio.ko.xz ring.ko.xz\nring.ko.xz:\n")
    return Kernel(folder)


def test_modules_come_after_those_they_need_and_are_unpacked(tmp_path: Path) -> None:
    kernel = unpacked(tmp_path, lzma.compress)
    files = kernel.in_order(["ring", "virtio_net", "built_in"])
    assert files == ["ring.ko.xz", "virtio.ko.xz", "net/virtio-net.ko.xz"]
    assert kernel.module(files[2]) == b"net/virtio-net.ko.xz"
    assert kernel.image == kernel.modules / "vmlinuz"  # where there is no /boot


@pytest.mark.skipif(not shutil.which("busybox"), reason="setup/apt-kernels.txt is not installed")
@pytest.mark.skip_in_ci_ok("make kernels installs busybox, and boots with such an archive")
def test_the_archive_is_one_that_cpio_reads(tmp_path: Path) -> None:
    data = archive([Entry("bin", 0o40755), Entry("bin/tool", 0o100755, b"12345"), Entry("empty", 0o100644)])
    subprocess.run(["busybox", "cpio", "-id"], cwd=tmp_path, input=data, check=True)
    assert (tmp_path / "bin" / "tool").read_bytes() == b"12345"
    assert (tmp_path / "bin" / "tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "empty").read_bytes() == b""
