"""Is a step's package already what the step would make? Decided by content, never by time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from mcwbuild.contract import dataset, disk, documents, fingerprints, look, manifest
from mcwbuild.contract.errors import InputError, McwbuildError
from mcwbuild.contract.phases import MANIFEST
from mcwbuild.plan import Step


def key(step: Step, identity: Mapping[str, str], hashes: Mapping[str, str]) -> str:
    """SHA-256 of all that the step's result depends on.

    `identity` is the engine's word on the environment (lock, code), `hashes` the inputs' SHA-256 by flag.
    """
    parts = {
        "phase": step.phase.name,
        "options": list(step.options),
        "inputs": dict(hashes),
        "images": fingerprints.fingerprint(step.images, _common_root(step.images)) if step.images else None,
        "environment": dict(identity),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _common_root(images: tuple[Path, ...]) -> Path:
    import os.path

    return Path(os.path.commonpath([image.parent for image in images]))


def input_hashes(step: Step) -> dict[str, str]:
    """The SHA-256 of every input file, by flag; lists of images and of texts count with what they name."""
    hashes = {flag: _content(flag, path) for flag, path in step.inputs}
    for flag, path in step.inputs:
        if flag == "--data" and (lists := _text_lists(path)):
            hashes["--data texts"] = " ".join(disk.sha256_of(place) for place in lists)
        if flag == "--dataset":
            images = dataset.read_list(path)
            hashes["--dataset images"] = fingerprints.fingerprint(images, path.parent)
    return hashes


def _text_lists(data: Path) -> tuple[Path, ...]:
    try:
        return dataset.text_lists(data)
    except InputError:
        return ()  # what is wrong with it is the stage's to tell


def _content(flag: str, path: Path) -> str:
    """The SHA-256 of a file, or over a folder's files: their contents.

    A dataset's folder, which holds a classification, counts with the names of its images: the classes are among them,
    and the images count by themselves.
    """
    if not look.is_folder(path):
        return disk.sha256_of(path)
    files = [file for file in path.rglob("*") if file.is_file()]
    if flag != "--data":
        return fingerprints.fingerprint(files, path)
    names = sorted(str(image.relative_to(path)) for image in files if dataset.is_image(image))
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def is_fresh(package: Path, wanted: str) -> bool:
    """True when the published package was made with this key and is whole, byte for byte."""
    try:
        made = documents.read_json(package / MANIFEST).value
    except McwbuildError:
        return False
    return not manifest.verify(package) and made.get("provenance", {}).get("key") == wanted
