"""What goes to the board: the package's program and models, images with labels, and the program that measures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcwbuild import inspection
from mcwbuild.board import archive
from mcwbuild.contract import assets, dataset, disk, documents, errors, fingerprints, transcripts
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import RKNN
from mcwbuild.contract.targets import TARGETS

FOLDER = "board"  # beside the package
PROGRAM, PACK = "run_board.py", "pack.json"
_START = """\
import sys

if sys.version_info < (3, 8):
    sys.stderr.write("error: This is Python %d.%d, and 3.8 or newer is needed.\\n" % sys.version_info[:2])
    sys.exit(5)

from stages.rknn.probe.main import main

sys.exit(main())
"""
# The sources that run on the board beside the package's own npu_inference.py, as they are.
SOURCES = (
    "common/__init__.py", "common/agreement.py", "rknn/__init__.py", "rknn/probe/__init__.py",
    "rknn/probe/machine.py", "rknn/probe/main.py", "rknn/probe/model.py", "rknn/probe/results.py",
)  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """Images of the board's archive: their files with their places in the evaluation, and what is told of each.

    `label` is a class's name, or the text in the image, or None where the label is a file (or there is none).
    """

    images: tuple[tuple[int, Path], ...]
    labels: Mapping[int, str]
    record: Mapping[str, Any] | None
    kind: str = ""


def packages(folder: Path, target: str | None = None) -> list[Path]:
    """The rknn packages in `folder`. Raises InputError where there is none, or none for `target`."""
    found = [path for path in inspection.packages_in(folder) if inspection.phase_of(path) is RKNN]
    if target is not None:
        found = [path for path in found if target_of(path) == target]
    if not found:
        raise InputError(
            f"{folder} holds no rknn_package{f' for {target}' if target else ''}.",
            remedy="Give a folder such as build/NAME or build/NAME/rknn_package.",
            kind="missing",
        )
    return found


def one_package(folder: Path, target: str | None) -> Path:
    """The only rknn package in `folder`. Raises InputError where `target` has to say which."""
    found = packages(folder, target)
    if len(found) > 1:
        names = ", ".join(sorted(target_of(path) for path in found))
        raise InputError(f"{folder} holds packages for {names}.", remedy="Choose one with --target.", kind="target")
    return found[0]


def target_of(package: Path) -> str:
    """The chip that the package is for."""
    return str(documents.read_yaml(package / RKNN.source).value["rknn"]["platform"]["target"])


def place_of(package: Path) -> Path:
    """Where the package's archive lies."""
    return package.parent / FOLDER / f"{target_of(package)}.tar.gz"


def pack(package: Path, chosen: Chosen) -> Path:
    """Write the archive of `package`; returns its place. Raises what `verify` would, InputError."""
    if wrong := inspection.inspect(package, RKNN):
        raise errors.gravest(wrong)
    target = target_of(package)
    if not TARGETS[target].lite:
        raise InputError(
            f"{target} cannot run the archive.",
            "rknn-toolkit-lite2 does not exist for it: such chips are used from C.",
            "Measure a package for another target.",
            kind="target",
        )
    place = place_of(package)
    documents.make_folder(place.parent)
    archive.write(place, _files(package, chosen))
    return place


def _files(package: Path, chosen: Chosen) -> dict[str, bytes | Path]:
    record = documents.read_json(package / RKNN.performance).value
    models = {
        variant: str(block["file"]) for variant, block in sorted(record["model_info"].items()) if "reason" not in block
    }
    files: dict[str, bytes | Path] = {**program(), "npu_inference.py": package / "npu_inference.py"}
    files |= {file: package / file for file in models.values()}
    for variant in models:
        expected = package / f"expected_{variant}.npz"
        files |= {expected.name: expected} if expected.is_file() else {}
    entries = []
    for number, (place, image) in enumerate(chosen.images):
        name = f"images/{number:04d}{image.suffix.lower()}"
        files[name] = image
        entry: dict[str, Any] = {"file": name, "sha256": disk.sha256_of(image), "place": place}
        if place in chosen.labels:
            entry[chosen.kind] = chosen.labels[place]
        elif chosen.kind == "file" and dataset.label_of(image).is_file():
            files[f"labels/{number:04d}.txt"] = dataset.label_of(image)
        entries.append(entry)
    made = {
        "models": models,
        "images": entries,
        "evaluation": record["test_configuration"]["evaluation"],
        "report_info": {**record["report_info"], "source": _described(package / RKNN.source)},
        "test_configuration": _configuration(record["test_configuration"], chosen),
    }
    del made["report_info"]["created"]
    files[PACK] = (json.dumps(made, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")
    return files


def program() -> dict[str, bytes | Path]:
    """The files of the program that measures on the board, the same for every model."""
    files: dict[str, bytes | Path] = {PROGRAM: _START.encode("ascii")}
    files["stages/__init__.py"] = b""  # else another package of that name on the board would be taken
    return files | {f"stages/{name}": assets.stages_dir() / name for name in SOURCES}


def _described(file: Path) -> dict[str, str]:
    return {"file": file.name, "sha256": disk.sha256_of(file)}


def _configuration(given: Mapping[str, Any], chosen: Chosen) -> dict[str, Any]:
    """How the board measures: as the package was measured, on the packed images."""
    kept = {name: given[name] for name in ("input_size", "evaluation", "deployed", "batch") if name in given}
    if chosen.record is None:
        return {"dataset": None, "dataset_reason": "The archive holds no images.", **kept}
    about = {name: chosen.record[name] for name in ("file", "split") if name in chosen.record}
    labelled = bool(chosen.kind)
    return {"dataset": {**about, "images": len(chosen.images), "labels": labelled}, **kept}


def choose(package: Path, data: Path | None, listing: Path | None, count: int) -> Chosen:
    """`count` of the labelled images that the package was measured on, or of a list, evenly spread.

    Raises InputError where the dataset is not the one that the package was measured on.
    """
    if data is None:
        images = dataset.read_list(listing) if listing is not None else ()
        record = {"file": listing.name, "split": None} if listing is not None else None
        chosen = dataset.pick(tuple(enumerate(images)), count)
        return Chosen(chosen, {}, record if images else None)
    record = documents.read_json(package / RKNN.performance).value["test_configuration"]["dataset"] or {}
    found = dataset.read(data)
    split = next((name for name in ("val", "test") if name in found.splits), "")
    images = found.splits.get(split, ())
    lines = found.texts.get(split, ())
    sha256 = fingerprints.fingerprint(images, found.root)
    if lines:
        sha256 = transcripts.fingerprint(lines, sha256)
    if sha256 != record.get("sha256"):
        measured = f"It was measured on {record['images']} images of {record['file']}." if record else "It has none."
        raise InputError(
            f"{data} is not the dataset that {package} was measured on.",
            measured,
            "Give the same images and labels, or --dataset for images without labels.",
            kind="dataset",
        )
    chosen = dataset.pick(tuple(enumerate(images)), count)
    if lines:
        return Chosen(chosen, {place: lines[place].text for place, _ in chosen}, record, "text")
    if found.by_folder:
        names = set(documents.read_yaml(package / RKNN.source).value["classes"]["names"])
        labels = {place: next(f.name for f in image.parents if f.name in names) for place, image in chosen}
        return Chosen(chosen, labels, record, "label")
    return Chosen(chosen, {}, record, "file")
