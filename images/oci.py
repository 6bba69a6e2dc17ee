"""Writes an image as an OCI image layout in a tar, without a container engine.

`manifest.json` is in it too, for a docker before 25 and for kind: `docker load`, `podman load`, `ctr images import`,
`skopeo copy oci-archive:FILE ...` and `kind load image-archive` take it.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from images import archive

MEDIA = "application/vnd.oci.image"
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


def write(
    image: archive.Image,
    layers: Sequence[Path],
    out: Path,
    *,
    architecture: str,
    created: int,
    labels: Mapping[str, str],
) -> None:
    """Write it, with layers that are gzip'd tars; `created` is in seconds since 1970."""
    with tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as tar:
        packed = archive.Archive(tar)
        known = [archive.Layer(file, archive.digest(file)) for file in layers]
        blobs = [_add_layer(packed, file) for file in layers]
        when = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        config = _add(packed, "config.v1", archive.configuration(image, known, labels, architecture, when))
        manifest = _add(
            packed,
            "manifest.v1",
            {"schemaVersion": 2, "mediaType": f"{MEDIA}.manifest.v1+json", "config": config, "layers": blobs},
        )
        platform = {"architecture": architecture, "os": "linux"}
        named = [manifest | {"platform": platform, "annotations": _names(name)} for name in image.names]
        docker = {"Config": _place(config), "RepoTags": image.names, "Layers": [_place(blob) for blob in blobs]}
        _add_json(packed, "index.json", {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": named})
        _add_json(packed, "manifest.json", [docker])
        _add_json(packed, "oci-layout", {"imageLayoutVersion": "1.0.0"})


def _names(name: str) -> dict[str, str]:
    return {CONTAINERD_NAME: f"docker.io/{name}", REF_NAME: name.rpartition(":")[2]}


def _add_layer(packed: archive.Archive, layer: Path) -> dict[str, object]:
    blob = _descriptor("layer.v1.tar+gzip", layer.read_bytes())
    packed.add_text(_place(blob), layer.read_bytes())
    return blob


def _add(packed: archive.Archive, kind: str, content: object) -> dict[str, object]:
    text = json.dumps(content, sort_keys=True).encode()
    blob = _descriptor(f"{kind}+json", text)
    packed.add_text(_place(blob), text)
    return blob


def _add_json(packed: archive.Archive, name: str, content: object) -> None:
    packed.add_text(name, json.dumps(content, sort_keys=True).encode())


def _descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {
        "mediaType": f"{MEDIA}.{kind}",
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "size": len(content),
    }


def _place(blob: Mapping[str, object]) -> str:
    return "blobs/" + str(blob["digest"]).replace(":", "/")
