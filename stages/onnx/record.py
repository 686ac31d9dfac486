"""What the onnx phase writes down: onnx_source.yaml and performance_onnx.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mcwbuild
from mcwbuild.contract import disk, inherit, manifest, performance
from mcwbuild.contract.performance import Check
from mcwbuild.contract.phases import ONNX
from stages.common import contract_doctor
from stages.common.contract_findings import trained_size
from stages.common.device import versions
from stages.common.evaluate import finite_check, test_configuration
from stages.common.findings import Finding
from stages.common.output_findings import not_finite
from stages.families.shapes import output_shapes
from stages.onnx.cut import INPUT
from stages.onnx.make import NOT_WANTED, Made
from stages.onnx.previous import comparison, drop_gates
from stages.onnx.request import Request


def input_shape(request: Request) -> list[int]:
    """[1, C, H, W]."""
    return [1, request.contract["input"]["channels"], *request.size]


def source_document(request: Request, made: Made) -> dict[str, Any]:
    """`onnx_source.yaml`: the contract, carried on, and how the file was made."""
    installed = versions("torch", "onnx", "onnxslim", "onnxruntime")
    tool, version = request.given.producer if request.given else ("torch.onnx", installed["torch"])
    simplified = {"done": not made.unsimplified, **({"reason": made.unsimplified} if made.unsimplified else {})}
    return {
        "schema": "onnx_source/1",
        **inherit.carry(request.source),
        **{key: request.source[key] for key in _carried(request) if key in request.source},
        "export": {
            "tool": tool,
            "version": version,
            "date": manifest.now(),
            "onnx": {
                "version": installed["onnx"],
                "opset": request.opset,
                "simplify": simplified,
                "dynamic_axes": False,
            },
            "input_names": [INPUT],
            "output_names": list(made.head["outputs"]),
        },
        "onnx": {
            "file": ONNX.artefacts[0],
            "sha256": made.sha256,
            "size": len(made.data),
            "shapes": {"inputs": {INPUT: input_shape(request)}, "outputs": made.shapes},
            "head": made.head,
            "verification": {
                check.name.replace(" ", "_"): {"status": check.status, "detail": check.detail}
                for check in checks(request, made)
            },
        },
    }


def _carried(request: Request) -> tuple[str, ...]:
    """What is known of the training: in the pt package where there is one, else it has to be kept here."""
    return ("checkpoint", *(("training", "dataset", "architecture") if request.given else ()))


def checks(request: Request, made: Made) -> list[Check]:
    """What was verified without a drop in percent: validity, shapes, agreement with what it is made from."""
    wanted = dict(zip(made.head["outputs"], output_shapes(made.head, request.size), strict=True))
    right = made.shapes == wanted
    shapes = f"The outputs are {list(made.shapes.values())}" + ("." if right else f", not {list(wanted.values())}.")
    return [
        Check("graph", "passed", "The ONNX checker in full and strict shape inference found nothing."),
        Check("model loads", "passed", "In ONNX Runtime, on the CPU."),
        Check("output shapes", "passed" if right else "failed", shapes),
        made.reference.check(made.agreement, f"{made.compared} images ({request.images.source})"),
        finite_check(made.evaluation),
        *([] if made.examined is None else [contract_doctor.check(made.examined)]),
        Check("contract", "passed", request.told_by),
    ]


def performance_record(request: Request, made: Made, source: Path) -> dict[str, Any]:
    """`performance_onnx.json`; `source` is the written onnx_source.yaml."""
    return performance.record(
        performance.report_info(
            "onnx",
            manifest.now(),
            mcwbuild.__version__,
            inherit.contract_sha256(request.source),
            {"file": ONNX.source, "sha256": disk.sha256_of(source)},
        ),
        test_configuration={**request.images.configuration, **test_configuration(request.contract, request.settings)},
        device=made.device,
        accuracy_metrics=made.evaluation.metrics,
        inference_performance=made.evaluation.inference,
        model_info={
            "file": ONNX.artefacts[0],
            "sha256": made.sha256,
            "size": len(made.data),
            **made.figures,
            "inputs": [{"name": INPUT, "dtype": "float32", "shape": input_shape(request)}],
            "outputs": [{"name": name, "dtype": "float32", "shape": shape} for name, shape in made.shapes.items()],
        },
        comparison=comparison(request, made),
        tuning_history=contract_doctor.history(made.examined) if made.examined else (),
        issues=[*_issues(made), *(one.issue(ONNX.name) for one in (*_doubts(made), *findings(request, made)))],
        validation=performance.validation(drop_gates(request, made), checks(request, made)),
    )


def _doubts(made: Made) -> list[Finding]:
    """What the doctor says of a given file's contract."""
    return [] if made.examined is None else contract_doctor.findings(made.examined, ONNX.source)


def findings(request: Request, made: Made) -> list[Finding]:
    """What is found beside the doctor's doubts; a checkpoint's input size was told in the pt phase."""
    known = {doubt.name for doubt in _doubts(made)}
    found = [not_finite("ONNX", made.evaluation.not_finite)]
    found += [trained_size(request.source)] if request.given else []
    return [one for one in found if one is not None and one.name not in known]


def _issues(made: Made) -> list[dict[str, str]]:
    """A simplification that was wanted and did not come about."""
    if not made.unsimplified or made.unsimplified == NOT_WANTED:
        return []
    return [
        {
            "phase": ONNX.name,
            "what": "The graph was not simplified.",
            "cause": made.unsimplified,
            "remedy": "The exported graph was kept; nothing has to be done.",
        }
    ]
