"""A package for a chip that runs what was built for another one: taken over, with everything about it told as it is."""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcwbuild.contract import disk, documents, manifest, validate
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.documents import Document
from mcwbuild.contract.errors import ContractBroken, InputError, Refused
from mcwbuild.contract.inherit import contract_sha256
from mcwbuild.contract.phases import RKNN
from mcwbuild.contract.targets import Target, same_build
from stages.rknn import script
from stages.rknn.model import Model

SCRIPT = "npu_inference.py"


@dataclass(frozen=True)
class Shared:
    """The other chip's package, checked, and the chip that it is taken for."""

    package: Path
    target: Target
    source: Document
    performance: Document

    @property
    def built_for(self) -> str:
        """The chip that it was built for."""
        platform = self.source.value["rknn"]["platform"]
        return str(platform.get("built_for") or platform["target"])


def require(package: Path, model: Model, target: Target) -> Shared:
    """The package, as it was published, of this model, for a chip with the same build.

    Raises InputError where it is no package or of another chip, Refused where its files are not those of its list,
    ContractBroken where it was made of another model.
    """
    source, performance = validate.require_all(
        [(package / RKNN.source, RKNN.source_schema), (package / RKNN.performance, RKNN.performance_schema)]
    )
    if changed := manifest.verify(package):
        raise Refused(f"{package} is not what was published.", remedy="Make it again.", kind="hash", problems=changed)
    made = Shared(package, target, source, performance)
    if not same_build(made.built_for, target.name):
        raise InputError(
            f"{package} cannot be taken for {target.name}.",
            f"It was built for {made.built_for}, which is another NPU.",
            f"Build for {target.name}.",
            kind="target",
        )
    if source.value["onnx"].get("sha256") != model.sha256 or contract_sha256(source.value) != model.contract_sha256:
        raise ContractBroken(
            f"{package} was not made of {model.path.name}.",
            "Its ONNX file or its contract is another.",
            f"Build for {target.name}.",
            kind="contract",
        )
    return made


def work(asked: Shared, bench: Bench) -> None:
    """Write the package: the same models, with documents and program for this chip."""
    with bench.step("take over", f"what was built for {asked.built_for}") as step:
        for name in (*RKNN.artefacts, RKNN.results):
            if name != SCRIPT and (asked.package / name).is_file():
                shutil.copyfile(asked.package / name, bench.out / name)
        program = bench.out / SCRIPT
        disk.write_atomic(program, _program(asked).encode("ascii"))
        source = bench.out / RKNN.source
        documents.write_yaml(source, _source(asked, disk.sha256_of(program)))
        documents.write_json(bench.out / RKNN.performance, _performance(asked, disk.sha256_of(source)))
        step.result = f"{asked.target.name} runs the same files"


def _program(asked: Shared) -> str:
    """The board's program with this chip's name in its data."""
    data = script.data_of((asked.package / SCRIPT).read_text("ascii"))
    return script.script(data["head"]["family"], {**data, "target": asked.target.name})


def _source(asked: Shared, program: str) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(asked.source.value)
    document["rknn"]["platform"] |= {"target": asked.target.name, "built_for": asked.built_for}
    document["inference_script"] |= {"sha256": program}
    return document


def _performance(asked: Shared, source: str) -> dict[str, Any]:
    record: dict[str, Any] = copy.deepcopy(asked.performance.value)
    record["report_info"] |= {"created": manifest.now(), "source": {"file": RKNN.source, "sha256": source}}
    record["issues"].append(
        {
            "phase": "rknn",
            "what": f"Built and measured once, for {asked.built_for}; {asked.target.name} runs the same files",
            "cause": "Both chips have the same NPU: the toolkit's builds differ in the chip's name alone",
            "remedy": f"Convert for {asked.target.name} alone to have one with its own name in it",
        }
    )
    return record
