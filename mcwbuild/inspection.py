"""A package seen from outside: hashes, schemas, contract, and what the models' own bytes say."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from mcwbuild import gate
from mcwbuild.contract import artefacts, disk, documents, inherit, look, manifest, readback, validate
from mcwbuild.contract.errors import ContractBroken, McwbuildError, Problem, Refused
from mcwbuild.contract.phases import MANIFEST, ONNX, PHASES, RKNN, Phase
from mcwbuild.gate import SHOWN

_ANEW = "Measure the package again: mcwbuild board pack."


def phase_of(package: Path) -> Phase | None:
    """The phase whose source document lies in the folder, or None where it is no package."""
    return next((phase for phase in PHASES.values() if look.exists(package / phase.source)), None)


def packages_in(folder: Path) -> tuple[Path, ...]:
    """The folder itself if it is a package, else the packages of a run below it, targets' folders included."""
    if phase_of(folder) is not None:
        return (folder,)
    names = tuple(phase.package for phase in PHASES.values())
    found = [folder / name for name in names] + sorted(p for name in names for p in folder.glob(f"*/{name}"))
    return tuple(path for path in found if look.is_folder(path))


def inspect(package: Path, phase: Phase) -> list[McwbuildError]:
    """Everything that is wrong with one package; empty when all holds."""
    if strange := list(islice(_strange(package, phase), SHOWN)):
        return [Refused(f"{package} is no package as mcwbuild publishes them.", kind="hash", problems=strange)]
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


def _strange(package: Path, phase: Phase) -> Iterator[Problem]:
    """What nobody should open: links, pipes and the like, and files that are larger than the phase's may be."""
    with os.scandir(package) as entries:
        for entry in entries:
            seen = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(seen.st_mode):
                yield Problem("this is not a regular file", entry.path)
            elif seen.st_size > (most := gate.budget(entry.name, phase)):
                yield Problem(f"it has {seen.st_size} bytes, and {most} are allowed", entry.path)


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
    if other := list(_other_models(package, phase, performance)):
        raise ContractBroken(
            f"{phase.performance} was measured on other models than those beside it.",
            remedy="Make the package again.",
            kind="contract",
            problems=other,
        )
    _board(package, phase, contract, performance.value)
    differing = list(_read_back(package, phase, source))
    if differing:
        raise ContractBroken(
            f"The {phase.name} package's models are not those that {phase.source} describes.",
            remedy="Make the package again.",
            kind="contract",
            problems=differing,
        )


def _other_models(package: Path, phase: Phase, performance: documents.Document) -> Iterator[Problem]:
    """Where the record names another SHA-256 than the model's file has: it was exchanged after it was measured."""
    model = performance.value["model_info"]
    measured = {f"best_{variant}.rknn": block for variant, block in model.items()} if phase is RKNN else {}
    for name, block in (measured or ({"best.onnx": model} if phase is ONNX else {})).items():
        written, path = block.get("sha256"), package / name
        if written is not None and look.is_file(path) and disk.sha256_of(path) != written:
            yield performance.problem(("model_info",), f"the record names {written[:12]} and not the SHA-256 of {name}")


def board_record(package: Path, phase: Phase) -> Mapping[str, Any] | None:
    """What a board measured of the package, None where none did. Raises InputError where it cannot be read."""
    if not phase.board or not look.is_file(package / phase.board):
        return None
    record: Mapping[str, Any] = documents.read_json(package / phase.board).value
    return record


def _board(package: Path, phase: Phase, contract: str, measured: Mapping[str, Any]) -> None:
    """A board's record is of this contract and of these models, if there is one. Raises InputError, ContractBroken."""
    if not phase.board or not look.exists(package / phase.board):
        return
    (record,) = validate.require_all([(package / phase.board, phase.board_schema)])
    if record.value["report_info"].get("contract_sha256") != contract:
        raise ContractBroken(f"{phase.board} was measured under another contract.", remedy=_ANEW, kind="contract")
    for variant, block in record.value["model_info"].items():
        if "sha256" in block and block["sha256"] != measured["model_info"][variant].get("sha256"):
            raise ContractBroken(f"{phase.board} is about another {variant} model.", remedy=_ANEW, kind="contract")


def _read_back(package: Path, phase: Phase, source: documents.Document) -> Iterator[Problem]:
    """Where the models' own bytes differ from the document. Raises ContractBroken for the block in best.onnx."""
    if phase is ONNX:
        facts = artefacts.read_onnx(package / "best.onnx")
        block = facts.metadata.get("mcwbuild.contract")
        if block is not None:
            inherit.compare(source, json.loads(block), "onnx", "onnx", "best.onnx")
        yield from readback.onnx_problems(source, facts)
    if phase is RKNN:
        for path in sorted(package.glob("best_*.rknn")):
            for problem in readback.rknn_problems(source, artefacts.read_rknn(path)):
                yield replace(problem, message=f"{path.name}: {problem.message}")


def inherits(package: Path, phase: Phase, given: Path) -> None:
    """The package's critical values are those of the source document that went in. Raises ContractBroken."""
    source = documents.read_yaml(package / phase.source)
    inherit.compare(source, documents.read_yaml(given), phase.name, f"given {given.name}")


def chain(packages: tuple[Path, ...]) -> list[McwbuildError]:
    """Packages of one run held against each other: the contract, first to last, and what each was made from."""
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
    _collect(errors, lambda: _made_from_each_other(packages))
    return errors


def _made_from_each_other(packages: tuple[Path, ...]) -> None:
    """What a package was made from is what the phase before has now. Raises ContractBroken, InputError."""
    made: dict[str, tuple[Path, str]] = {}  # file -> the package that holds it, its SHA-256
    problems = []
    for package in packages:
        (record,) = validate.require_all([(package / MANIFEST, "manifest")])
        for place, item in enumerate(record.value["inputs"]):
            holder, sha256 = made.get(item["file"], (package, item["sha256"]))
            if sha256 != item["sha256"]:
                told = f"it was made from another {item['file']} than {holder.name} holds"
                problems.append(record.problem(("inputs", place, "sha256"), told))
        if phase_of(package) is not RKNN:  # targets' packages stand beside each other
            made |= {item["file"]: (package, item["sha256"]) for item in record.value["outputs"]}
    if problems:
        raise ContractBroken(
            "Packages of one run were not made from each other.",
            remedy="Run again: what is not up to date is made anew.",
            kind="chain",
            problems=problems,
        )
