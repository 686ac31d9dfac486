"""A package seen from outside: hashes, schemas, contract, and what the models' own bytes say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcwbuild.contract import artefacts, documents, inherit, manifest, validate
from mcwbuild.contract.errors import ContractBroken, McwbuildError, Problem, Refused
from mcwbuild.contract.phases import MANIFEST, PHASES, Phase, PhaseName


def phase_of(package: Path) -> Phase | None:
    """The phase whose source document lies in the folder, or None where it is no package."""
    return next((phase for phase in PHASES.values() if (package / phase.source).exists()), None)


def packages_in(folder: Path) -> tuple[Path, ...]:
    """The folder itself if it is a package, else the packages of a run below it, targets' folders included."""
    if phase_of(folder) is not None:
        return (folder,)
    names = tuple(phase.package for phase in PHASES.values())
    found = [folder / name for name in names] + sorted(p for name in names for p in folder.glob(f"*/{name}"))
    return tuple(path for path in found if path.is_dir())


def inspect(package: Path, phase: Phase) -> list[McwbuildError]:
    """Everything that is wrong with one package; empty when all holds."""
    errors: list[McwbuildError] = []
    changed = manifest.verify(package)
    if changed:
        errors.append(
            Refused(
                f"{package} is not what was published.",
                remedy="Make the package again, or fetch it again from where it came.",
                kind="hash",
                problems=changed,
            )
        )
    _collect(errors, lambda: _documents(package, phase))
    return errors


def _collect(errors: list[McwbuildError], check: Callable[[], None]) -> None:
    try:
        check()
    except McwbuildError as error:
        errors.append(error)


def _documents(package: Path, phase: Phase) -> None:
    source, performance, _ = validate.require_all(
        [
            (package / phase.source, phase.source_schema),
            (package / phase.performance, phase.performance_schema),
            (package / MANIFEST, "manifest"),
        ]
    )
    contract = inherit.contract_sha256(source.value)
    edited = inherit.own_hash(source)
    if edited is not None:
        raise ContractBroken(f"A critical value in {phase.source} was changed.", kind="contract", problems=[edited])
    said = performance.value["report_info"]["contract_sha256"]
    if said != contract:
        raise ContractBroken(
            f"{phase.performance} was measured under another contract than {phase.source} states.",
            f"It names {said[:12]}, the document {contract[:12]}.",
            "Make the package again.",
            kind="contract",
        )
    _READ_BACK.get(phase.name, lambda *_: None)(package, source, contract)


def _onnx(package: Path, source: documents.Document, _contract: str) -> None:
    facts = artefacts.read_onnx(package / "best.onnx")
    block = facts.metadata.get("mcwbuild.contract")
    if block is not None:
        inherit.compare(source, json.loads(block), "onnx", "onnx", "best.onnx (metadata)")


def _rknn(package: Path, source: documents.Document, contract: str) -> None:
    problems = []
    for path in sorted(package.glob("best_*.rknn")):
        facts = artefacts.read_rknn(path)
        said = json.loads(facts.custom_string or "{}").get("contract_sha256")
        target = source.value["rknn"]["platform"]["target"]
        if said != contract:
            problems.append(Problem(f"its contract is {said}, not {contract}", file=str(path)))
        if target not in facts.target:
            problems.append(Problem(f"it is built for {', '.join(facts.target)}, not {target}", file=str(path)))
    if problems:
        raise ContractBroken("A .rknn is not the one that its document describes.", kind="contract", problems=problems)


_READ_BACK: dict[PhaseName, Callable[[Path, documents.Document, str], None]] = {"onnx": _onnx, "rknn": _rknn}


def chain(packages: tuple[Path, ...]) -> list[McwbuildError]:
    """Compare the contracts of packages of one run with each other, first to last."""
    errors: list[McwbuildError] = []
    first: tuple[Phase, Any] | None = None
    for package in packages:
        phase = phase_of(package)
        if phase is None:
            continue
        try:
            source = documents.read_yaml(package / phase.source)
            if first is not None:
                inherit.compare(source, first[1], phase.name, first[0].name)
            else:
                first = (phase, source)
        except McwbuildError as error:
            errors.append(error)
    return errors
