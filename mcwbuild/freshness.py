"""Is a step's package already what the step would make? Decided by content, never by time."""

from __future__ import annotations

import hashlib
import json
import os.path
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcwbuild.contract import dataset, disk, documents, fingerprints, look, manifest
from mcwbuild.contract.errors import InputError, McwbuildError
from mcwbuild.contract.phases import MANIFEST
from mcwbuild.plan import Step


def ingredients(step: Step, identity: Mapping[str, str], hashes: Mapping[str, str]) -> dict[str, Any]:
    """All that the step's result depends on, as plain data.

    `identity` is the engine's word on the environment (lock, code), `hashes` the inputs' SHA-256 by flag.
    """
    return {
        "phase": step.phase.name,
        "options": list(step.options),
        "inputs": dict(hashes),
        "images": fingerprints.fingerprint(step.images, _common_root(step.images)) if step.images else None,
        "environment": dict(identity),
    }


def key_of(parts: Mapping[str, Any]) -> str:
    """SHA-256 of the ingredients: packages with the same key are made of the same."""
    of_account = {**parts, "options": without_threads(parts["options"])}
    return hashlib.sha256(json.dumps(of_account, sort_keys=True).encode()).hexdigest()


def without_threads(options: Sequence[str]) -> list[str]:
    """The options that a key is made from: `--threads` says how quickly a package is made.

    A batch gives what the machine has just then, and would make everything anew when that is another number.
    """
    kept = list(options)
    if "--threads" in kept:
        place = kept.index("--threads")
        del kept[place : place + 2]
    return kept


def _common_root(images: tuple[Path, ...]) -> Path:
    return Path(os.path.commonpath([image.parent for image in images]))


def input_hashes(step: Step) -> dict[str, str]:
    """The SHA-256 of every input file, by flag; lists of images and of texts count with what they name."""
    hashes = {flag: content(flag, path) for flag, path in step.inputs}
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


def content(flag: str, path: Path) -> str:
    """The SHA-256 of an input: of a file, or over a folder's files, their contents.

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


def places(step: Step) -> dict[str, str]:
    """Where each input lies, seen from the package: for who wants to make it again."""
    return {flag: os.path.relpath(path, step.package) for flag, path in step.inputs}


def recorded(package: Path) -> Mapping[str, Any]:
    """The `provenance` of a published package; empty where there is none that can be read."""
    try:
        made = documents.read_json(package / MANIFEST).value
    except McwbuildError:
        return {}
    provenance = made.get("provenance", {}) if isinstance(made, Mapping) else {}
    return provenance if isinstance(provenance, Mapping) else {}


def is_fresh(package: Path, wanted: str) -> bool:
    """True when the published package was made with this key and is whole, byte for byte."""
    return recorded(package).get("key") == wanted and manifest.is_whole(package)
