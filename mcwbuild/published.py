"""Packages that lie somewhere, found and read: the sound ones by their documents, the others by what is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcwbuild import inspection
from mcwbuild.contract import documents, look
from mcwbuild.contract.errors import InputError, McwbuildError
from mcwbuild.contract.performance import COMPARED, main_metric_of
from mcwbuild.contract.phases import MANIFEST, ONNX, PHASES, PT, RKNN, Phase

DEPTH, FOLDERS = 6, 100_000  # how far below a folder packages are looked for, and among how many folders
VARIANTS = ("fp16", "int8")


@dataclass(frozen=True)
class Published:
    """A sound package and its three documents; `board` is what a board measured of it, None where none did."""

    folder: Path
    phase: Phase
    source: Mapping[str, Any]
    performance: Mapping[str, Any]
    manifest: Mapping[str, Any]
    board: Mapping[str, Any] | None = None

    @property
    def target(self) -> str | None:
        """The chip that an rknn package is for."""
        return str(self.source["rknn"]["platform"]["target"]) if self.phase is RKNN else None

    @property
    def run(self) -> Path:
        """The folder of the run: the package's parent, or one above it where the parent is a target's own."""
        parent = self.folder.parent
        beside, above = (
            any(look.is_folder(place / phase.package) for phase in (PT, ONNX)) for place in (parent, parent.parent)
        )
        return parent.parent if above and not beside and self.folder.name == RKNN.package else parent


@dataclass(frozen=True)
class Model:
    """One model of a package: `part` is what the record says of it, each block under its own name."""

    package: Published
    variant: str | None
    part: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What people call it: `ONNX`, `rk3588 INT8`."""
        name = self.package.phase.name.upper()
        return name if self.variant is None else f"{self.package.target} {self.variant.upper()}"

    @property
    def metrics(self) -> dict[str, float | None]:
        """Its metrics by their names."""
        return metrics_of(self.part.get("accuracy_metrics", {}))

    @property
    def main(self) -> str:
        """The name of its main metric."""
        return main_metric_of(self.part.get("accuracy_metrics", {}))

    @property
    def evaluation(self) -> Path | None:
        """The file that holds its evaluation image by image, where there is one."""
        phase = self.package.phase
        path = self.package.folder / (phase.evaluation or f"expected_{self.variant}.npz")
        return path if look.is_file(path) else None


def models(package: Published) -> tuple[Model, ...]:
    """The models of a package that were made."""
    made = (
        Model(package, variant, part_of(package.performance, variant))
        for variant in (VARIANTS if package.phase is RKNN else (None,))
    )
    return tuple(model for model in made if "sha256" in model.part.get("model_info", {}))


def part_of(record: Mapping[str, Any], variant: str | None) -> Mapping[str, Any]:
    """What a record says of one variant: the blocks that have its name as a key, by their own names."""
    if variant is None:
        return record
    blocks = {name: value for name, value in record.items() if isinstance(value, Mapping)}
    return {name: block[variant] for name, block in blocks.items() if isinstance(block.get(variant), Mapping)}


def metrics_of(accuracy: Mapping[str, Any]) -> dict[str, float | None]:
    """Every metric of an `accuracy_metrics` block, those of boxes beside masks as `boxes.map50`."""
    found = {name: accuracy[name] for name in COMPARED if name in accuracy}
    boxes = accuracy.get("boxes", {})
    return found | {f"boxes.{name}": boxes[name] for name in COMPARED if name in boxes}


def find(folder: Path) -> tuple[Path, ...]:
    """Every package in `folder`, itself included; links and hidden folders are passed over.

    Raises InputError where there is none, or too much to look into.
    """
    found: list[Path] = []
    ahead = [(folder, 0)]
    for count, (place, depth) in enumerate(ahead):
        if count > FOLDERS:
            raise InputError(f"{folder} holds more than {FOLDERS} folders.", remedy="Give a folder of runs.")
        if inspection.phase_of(place) is not None:
            found.append(place)
        elif depth < DEPTH:
            ahead += [(below, depth + 1) for below in _folders(place)]
    if not found:
        raise InputError(
            f"{folder} holds no package." if look.is_folder(folder) else f"{folder} is not a folder.",
            remedy="Give a folder such as build/NAME or build/NAME/onnx_package.",
            kind="missing",
        )
    return tuple(sorted(found, key=_order))


def _order(package: Path) -> tuple[int, int, Path]:
    """Phase after phase: the packages of a run are told apart by their folders later."""
    phase = inspection.phase_of(package)
    return list(PHASES.values()).index(phase) if phase else len(PHASES), len(package.parts), package


def _folders(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            return [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith(".")]
    except OSError:
        return []


def read(package: Path) -> tuple[Published | None, list[McwbuildError]]:
    """The package where it is sound, or all that is wrong with it; it is inspected as `verify` does."""
    phase = inspection.phase_of(package)
    if phase is None:
        return None, [InputError(f"{package} is no package.", "It has no source document.", kind="missing")]
    if errors := inspection.inspect(package, phase):
        return None, errors
    source = documents.read_yaml(package / phase.source).value
    record, manifest = (documents.read_json(package / name).value for name in (phase.performance, MANIFEST))
    return Published(package, phase, source, record, manifest, inspection.board_record(package, phase)), []


def read_all(packages: Sequence[Path]) -> tuple[list[Published], list[McwbuildError]]:
    """All sound packages, and everything that is wrong with the others."""
    found: list[Published] = []
    wrong: list[McwbuildError] = []
    for package in packages:
        one, errors = read(package)
        wrong += errors
        if one is not None:
            found.append(one)
    return found, wrong
