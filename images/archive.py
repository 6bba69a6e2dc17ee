"""Writes container images without a container engine: one archive that `docker load` and `ctr images import` take.

    python3 images/archive.py images/images.toml tools --layer tools=tools.tar.gz --programs bin >images.tar

It does not check that an image works: a missing library shows when the image is run.
"""

import argparse
import gzip
import hashlib
import io
import json
import platform
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A fixed date: the same input gives the same bytes, and with them the same digests.
EPOCH = "1970-01-01T00:00:00Z"
HEALTH_INTERVAL = 30 * 10**9  # nanoseconds


@dataclass(frozen=True)
class Image:
    """One table of images.toml: names of layers and programs, not yet their files."""

    names: list[str]
    layers: list[str] = field(default_factory=list[str])
    files: dict[str, str] = field(default_factory=dict[str, str])
    entrypoint: list[str] | None = None
    command: list[str] | None = None
    environment: list[str] = field(default_factory=list[str])
    stop_signal: str | None = None
    healthcheck: list[str] | None = None
    labels: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Layer:
    """A tar file, gzip'd or not, and the digest of what is in it, by which an image's configuration names it."""

    file: Path
    diff_id: str

    @property
    def name(self) -> str:
        return f"{self.diff_id}.tar"


class Archive:
    """An archive that is being written: what several images have in common is in it once."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.tar = tar
        self.written: set[str] = set()

    def add(self, name: str, content: IO[bytes], size: int) -> None:
        if name not in self.written:
            self.tar.addfile(entry(name, size=size), content)
            self.written.add(name)

    def add_layer(self, layer: Layer) -> None:
        with layer.file.open("rb") as content:
            self.add(layer.name, content, layer.file.stat().st_size)

    def add_text(self, name: str, text: bytes) -> None:
        self.add(name, io.BytesIO(text), len(text))


def write(
    images: Sequence[Image],
    roots: Mapping[str, Path],
    programs: Path,
    out: IO[bytes],
    labels: Mapping[str, str],
) -> None:
    """The images as one archive; `roots` are the files of the layers that the images name."""
    known = {name: Layer(file, digest(file)) for name, file in roots.items()}
    manifest: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(fileobj=out, mode="w|") as tar:
        archive = Archive(tar)
        for image in images:
            layers = [known[name] for name in image.layers]
            if image.files:
                layers.append(layer_of({place: programs / name for name, place in image.files.items()}, Path(scratch)))
            for layer in layers:
                archive.add_layer(layer)
            text = json.dumps(configuration(image, layers, labels), sort_keys=True).encode()
            config = f"{hashlib.sha256(text).hexdigest()}.json"
            archive.add_text(config, text)
            manifest.append({"Config": config, "RepoTags": image.names, "Layers": [layer.name for layer in layers]})
        archive.add_text("manifest.json", json.dumps(manifest).encode())


def configuration(
    image: Image, layers: Sequence[Layer], labels: Mapping[str, str], architecture: str = "", created: str = EPOCH
) -> dict[str, object]:
    """What the image's configuration says, in the words of the OCI image specification; without an architecture, that
    of this machine."""
    config: dict[str, object] = {"Env": [PATH, *image.environment], "Labels": {**image.labels, **labels}}
    if image.entrypoint:
        config["Entrypoint"] = image.entrypoint
    if image.command:
        config["Cmd"] = image.command
    if image.stop_signal:
        config["StopSignal"] = image.stop_signal
    if image.healthcheck:  # docker's own word; Kubernetes has probes instead
        config["Healthcheck"] = {"Test": ["CMD", *image.healthcheck], "Interval": HEALTH_INTERVAL}
    return {
        "architecture": architecture or ARCHITECTURES[platform.machine()],
        "os": "linux",
        "created": created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers]},
        "history": [{"created": EPOCH, "created_by": "images/archive.py"} for _ in layers],
    }


def layer_of(files: Mapping[str, Path], folder: Path) -> Layer:
    """A gzip'd tar of programs, by their place in the image; owned by root, with the folders above them."""
    packed = folder / "-".join(file.name for file in files.values())
    above_them = {str(above) for place in files for above in Path(place).parents} - {"/"}
    with (
        gzip.GzipFile(packed, mode="wb", compresslevel=1, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w|") as tar,
    ):
        for above in sorted(above_them):
            tar.addfile(entry(above.lstrip("/"), tarfile.DIRTYPE))
        for place, file in sorted(files.items()):
            with file.open("rb") as content:
                tar.addfile(entry(place.lstrip("/"), size=file.stat().st_size), content)
    return Layer(packed, digest(packed))


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, size, 0o755
    return info


def digest(file: Path) -> str:
    """Of the tar, also when the file is gzip'd: so the specification wants it."""
    with file.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    with gzip.open(file) if packed else file.open("rb") as content:
        total = hashlib.sha256()
        while chunk := content.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Writes images as an archive for `docker load` to stdout.", allow_abbrev=False
    )
    parser.add_argument("recipe", type=Path, help="images.toml")
    parser.add_argument("image", nargs="+", help="its tables that are wanted")
    parser.add_argument("--layer", action="append", default=[], metavar="NAME=FILE", help="the tar of a layer")
    parser.add_argument("--programs", type=Path, default=Path(), help="the folder that holds the programs")
    parser.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    recipe = tomllib.loads(arguments.recipe.read_text())
    roots = {name: Path(file) for name, file in pairs(arguments.layer)}
    images = [Image(**recipe[name]) for name in arguments.image]
    try:
        write(images, roots, arguments.programs, sys.stdout.buffer, dict(pairs(arguments.label)))
    except BrokenPipeError:
        sys.exit("images/archive.py: whoever reads the archive has stopped reading")


def pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (text.partition("=") for text in texts)]


if __name__ == "__main__":
    main()
