"""The board's record into its package: checked, judged by the evaluator in the rknn stage, published whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mcwbuild import inspection, pipeline
from mcwbuild.board import archive, pack
from mcwbuild.contract import disk, documents, errors, inherit, limits, look, manifest, performance, validate
from mcwbuild.contract.errors import ContractBroken, GateFailed, InputError, Problem
from mcwbuild.contract.phases import ONNX, RKNN
from mcwbuild.engines import Engine
from mcwbuild.package import Workspace, publish
from mcwbuild.pipeline import Reporter
from mcwbuild.plan import Step


@dataclass(frozen=True)
class Merged:
    """The package that has the board's record now, its chip, the record, and the gates that it missed."""

    package: Path
    target: str
    record: Mapping[str, Any]
    missed: GateFailed | None


def merge(
    folder: Path,
    file: Path,
    engine: Engine,
    reporter: Reporter,
    gates: Sequence[limits.Override] = (),
    *,
    strict: bool = False,
) -> Merged:
    """Judge the record in `file` and publish it in the package in `folder` whose models were measured.

    Raises InputError (no record, another model's, another archive's), ContractBroken (another contract's), and what
    judging and publishing raise; the package is then as it was.
    """
    (record,) = validate.require_all([(file, RKNN.board_schema)])
    package = package_of(folder, record)
    with Workspace(_workspace(package)) as workspace:
        scratch = workspace.staging(RKNN)
        unpacked = _unpacked(package, record, scratch / "pack")
        (scratch / "stage").mkdir()
        phase = replace(RKNN, title="judging")
        step = Step("board", phase, _inputs(package, file, unpacked), _options(gates), (), package)
        judged = pipeline.one_document(step, engine, scratch / "stage", workspace.log("board"), reporter, RKNN.board)
        staging = workspace.staging(RKNN)
        for name in sorted(path.name for path in package.iterdir()):
            shutil.copyfile(package / name, staging / name)
        shutil.copyfile(judged, staging / RKNN.board)
        manifest.add(staging, RKNN.board)
        if wrong := inspection.inspect(staging, RKNN):
            raise errors.gravest(wrong)
        staging.chmod(0o755)
        publish(staging, package)
    made = documents.read_json(package / RKNN.board).value
    return Merged(
        package, pack.target_of(package), made, performance.missed_gate(made, RKNN, strict=strict, file=RKNN.board)
    )


def package_of(folder: Path, record: documents.Document) -> Path:
    """The package in `folder` whose models the record is about."""
    found = pack.packages(folder)
    wanted = record.value["report_info"].get("contract_sha256")
    contracts = {path: inherit.contract_sha256(documents.read_yaml(path / RKNN.source).value) for path in found}
    same = [path for path in found if contracts[path] == wanted]
    if not same:
        raise ContractBroken(
            f"{record.file} was measured under another contract than the package states.",
            f"It names {str(wanted)[:12]}, {found[0]} {contracts[found[0]][:12]}.",
            "Merge it into the package that the archive was made from.",
            kind="contract",
        )
    measured = _hashes(record.value["model_info"])
    for path in same:
        own = _hashes(documents.read_json(path / RKNN.performance).value["model_info"])
        if measured and measured.items() <= own.items():
            return path
    raise InputError(
        f"{record.file} is about another model.",
        "The .rknn that was measured is not the package's: its SHA-256 differs.",
        "Merge it into the package that the archive was made from, or measure this one: mcwbuild board pack.",
        kind="other-model",
        problems=[
            Problem(f"the {variant} model was {digest[:12]}", record.file, path=f"$.model_info.{variant}.sha256")
            for variant, digest in measured.items()
        ],
    )


def _hashes(models: Mapping[str, Any]) -> dict[str, str]:
    return {variant: str(block["sha256"]) for variant, block in models.items() if "sha256" in block}


def _workspace(package: Path) -> Path:
    """The output folder whose lock a run on this package holds: that of a target lies one folder higher."""
    above = package.absolute().parent
    return above.parent if (above.parent / ".lock").exists() and not (above / ".lock").exists() else above


def _unpacked(package: Path, record: documents.Document, into: Path) -> Path:
    """The files of the archive that was measured."""
    place = pack.place_of(package)
    remedy = "Pack the same package and images again: that makes the same archive."
    if not look.is_file(place):
        raise InputError(f"The archive that was measured is not at {place}.", remedy=remedy, kind="pack")
    into.mkdir()
    folder = archive.read(place, into)
    if disk.sha256_of(folder / pack.PACK) != record.value["pack"]["sha256"]:
        raise InputError(f"{record.file} was measured with another archive than {place}.", remedy=remedy, kind="pack")
    return folder


def _inputs(package: Path, file: Path, unpacked: Path) -> tuple[tuple[str, Path], ...]:
    places = (package.parent / ONNX.package, package.parent.parent / ONNX.package)
    previous = [place / ONNX.performance for place in places if look.is_file(place / ONNX.performance)]
    return (
        ("--board-record", file),
        ("--pack", unpacked),
        ("--source", package / RKNN.source),
        *(("--previous", path) for path in previous[:1]),
    )


def _options(gates: Sequence[limits.Override]) -> tuple[str, ...]:
    chosen = [one for one in gates if one.key in limits.KEYS[RKNN.name]]
    return tuple(word for one in chosen for word in ("--gate", str(one)))
