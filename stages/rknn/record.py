"""The phase's two documents: `performance_rknn.json` and `rknn_source.yaml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mcwbuild import __version__
from mcwbuild.contract import inherit, performance
from mcwbuild.contract.performance import Check, Gate
from mcwbuild.contract.phases import RKNN
from stages.common.evaluate import Settings, test_configuration
from stages.common.findings import Finding
from stages.rknn import failures, tuning_record
from stages.rknn import outcome as outcomes
from stages.rknn.calibration import Calibration
from stages.rknn.outcome import Outcome
from stages.rknn.request import Request
from stages.rknn.targets import VARIANTS, Variant
from stages.rknn.tuning_record import Tuned

_CARRIED = ("checkpoint", "export", "onnx", "training", "dataset", "architecture", "performance")
_KEPT_FOR_PEOPLE = ("training", "dataset", "architecture", "performance")
Made = Mapping[Variant, Outcome]


def outcomes_of(tuned: Tuned) -> dict[Variant, Outcome]:
    """The build that is taken of each variant."""
    return {variant: found.outcome for variant, found in tuned.items()}


def gates(made: Made) -> list[Gate]:
    """The gates of each variant that was made."""
    return [gate for variant in VARIANTS if variant in made for gate in made[variant].gates]


def checks(made: Made, request: Request) -> list[Check]:
    """The contract's check and those of each variant."""
    contract = (
        Check("contract", "passed", "onnx_source.yaml and the ONNX metadata agree")
        if request.model.verified
        else Check("contract", "unmeasured", "unverified: the ONNX file holds no contract")
    )
    return [contract, *(check for variant in VARIANTS if variant in made for check in outcomes.checks(made[variant]))]


def performance_record(
    tuned: Tuned,
    request: Request,
    created: str,
    source: Mapping[str, Any],
    found: Sequence[Finding] = (),
) -> dict[str, Any]:
    """`performance_rknn.json`; `source` is {file, sha256} of the source document, `found` what was found before."""
    made = outcomes_of(tuned)

    def each(block: Callable[[Outcome], Mapping[str, Any]]) -> dict[str, Any]:
        return {
            variant: block(made[variant])
            if variant in made
            else performance.unmeasured(f"Not made: {request.absent[variant]}.")
            for variant in VARIANTS
        }

    all_gates, all_checks = gates(made), checks(made, request)
    return performance.record(
        performance.report_info("rknn", created, __version__, request.model.contract_sha256, source),
        test_configuration=_configuration(request),
        device=each(lambda outcome: outcome.built.measured.device),
        accuracy_metrics=each(outcomes.accuracy),
        inference_performance=each(outcomes.speed),
        model_info=each(lambda outcome: outcomes.model_info(outcome, request)),
        comparison=each(lambda outcome: outcomes.comparison(outcome, request)),
        tuning_history=tuning_record.history(tuned, request),
        tuned={"pareto": tuning_record.pareto(tuned), "layers": tuning_record.layers(tuned)},
        issues=[*_issues(made, all_gates, found), *(_issue(*told) for told in tuning_record.issues(tuned))],
        validation=performance.validation(all_gates, all_checks),
    )


def _configuration(request: Request) -> dict[str, Any]:
    settings = Settings(request.confidence, request.iou, request.max_detections, request.threads)
    return {**request.images.configuration, **test_configuration(request.model.contract, settings)}


def _issues(made: Made, all_gates: Sequence[Gate], found: Sequence[Finding]) -> list[dict[str, Any]]:
    """What went wrong or is worth knowing, in words; a failed check is told by its finding."""
    issues = [_issue(gate.reason, "", "") for gate in all_gates if gate.status == "failed"]
    issues += [finding.issue(RKNN.name) for finding in found]
    for outcome in made.values():
        issues += [finding.issue(RKNN.name) for finding in outcome.findings]
        on_cpu = outcome.built.log.on("CPU")
        if on_cpu:
            what = f"{len(on_cpu)} layers of the {outcome.variant} model run on the CPU"
            causes = ", ".join(sorted({layer.op for layer in on_cpu}))
            issues.append(_issue(what, f"The NPU does not compute: {causes}", "Replace them if the model is too slow"))
        issues += [
            _issue(*words)
            for words in failures.doubts(outcome.variant, outcome.built.log, outcome.built.disabled_rules)
        ]
    return issues


def _issue(what: str, cause: str, remedy: str) -> dict[str, Any]:
    filled = {"cause": cause, "remedy": remedy}
    return {"phase": RKNN.name, "what": what, **{key: text for key, text in filled.items() if text}}


def source_document(
    tuned: Tuned, request: Request, calibration: Calibration | None, created: str, script: Mapping[str, Any]
) -> dict[str, Any]:
    """`rknn_source.yaml`; `script` is {file, sha256} of the board's program."""
    made = outcomes_of(tuned)
    model = request.model
    given = model.source.value
    carried = inherit.carry(given)
    versions = {outcome.toolkit for outcome in made.values()}
    document = {"schema": "rknn_source/1", **carried}
    document |= {key: given[key] for key in _CARRIED if key in given and key not in _KEPT_FOR_PEOPLE}
    document["onnx"] = {**given["onnx"], "file": model.path.name, "sha256": model.sha256, "head": model.head}
    document |= {
        "rknn": {
            "toolkit_version": versions.pop(),
            "conversion_date": created,
            "platform": {"target": request.target.name, "sub_platform": None},
            "optimization": {"level": request.optimization_level},
        },
        "quantization": _quantization(tuned, request, calibration),
        "models": {variant: _file(variant, made, request) for variant in VARIANTS},
        "postprocessing": {
            "confidence": request.confidence,
            "nms": request.iou,
            "max_detections": request.max_detections,
            "coordinates": "x1 y1 x2 y2 in pixels of the image",
            "head": model.head,
        },
        "runtime": {"core_mask": "NPU_CORE_AUTO", "input": {"dtype": "uint8", "layout": "NHWC"}},
        "inference_script": dict(script),
        "verification": _verification(made, request, calibration),
    }
    return document | {key: given[key] for key in _KEPT_FOR_PEOPLE if key in given}


def _quantization(tuned: Tuned, request: Request, calibration: Calibration | None) -> dict[str, Any]:
    made = outcomes_of(tuned)
    int8: dict[str, Any] = {"enabled": "int8" in made, "reason": request.absent.get("int8")}
    chosen = made["int8"].quantization if "int8" in made else None
    if chosen is not None and calibration is not None and request.calibration is not None:
        int8 |= {
            "algorithm": chosen.algorithm,
            "method": chosen.method,
            "dataset": {
                "path": request.calibration.file.name,
                "size": chosen.images,
                "source": request.calibration.source,
                "sha256": calibration.sha256,
                "chosen": dict(calibration.chosen) or None,
            },
            "hybrid": tuning_record.hybrid(tuned["int8"]),
        }
    return {"fp16": {"enabled": "fp16" in made, "reason": request.absent.get("fp16")}, "int8": int8}


def _file(variant: Variant, made: Made, request: Request) -> dict[str, Any]:
    if variant not in made:
        return {"absent": request.absent[variant]}
    artefact = made[variant].artefact
    return {"file": artefact.path.name, "sha256": artefact.sha256, "size": artefact.size}


def _verification(made: Made, request: Request, calibration: Calibration | None) -> dict[str, Any]:
    block: dict[str, Any] = {
        "contract": "verified" if request.model.verified else "unverified",
        "checks": {check.name: check.status for check in checks(made, request)},
    }
    if calibration is not None:
        # File names can hold characters that no document of ours takes.
        names = [ascii(name)[1:-1] for name in calibration.images]
        block["calibration"] = {"images": names, "values_added": list(calibration.extremes)}
    return block
