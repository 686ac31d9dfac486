"""One variant's part of the performance record: figures, gate, checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mcwbuild.contract import performance
from mcwbuild.contract.performance import COMPARED, Check, Gate, main_metric
from stages.common import evaluation_file, gates
from stages.common.evaluation_file import order_of
from stages.common.findings import Finding
from stages.common.gates import Question, Side
from stages.common.output_findings import not_finite
from stages.rknn.build import Built
from stages.rknn.job import Quantization
from stages.rknn.readback import Artefact
from stages.rknn.request import Request
from stages.rknn.targets import Variant

_ESTIMATE = (
    "From the compiler's table, not measured. The cycles are a lower bound: only convolution-like layers carry any; "
    "two published models took 1.6 and 2.2 times as long on an rk3588 at 1 GHz."
)
_CYCLES_PER_MS = 1_000_000  # at 1 GHz, what an rk3588's NPU is taken to have; other chips have other clocks


@dataclass(frozen=True)
class Outcome:
    """A variant that was made: how it was built, what was read back from it, and how it was judged.

    `quantization` is None for FP16.
    """

    variant: Variant
    quantization: Quantization | None
    built: Built
    artefact: Artefact
    gates: tuple[Gate, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with its outputs."""
        measured = self.built.measured
        found = [Finding(**one) for one in measured.comparison["findings"]]
        broken = not_finite(self.variant, measured.not_finite)
        return (*found, *([broken] if broken else []))

    @property
    def toolkit(self) -> str:
        """The toolkit's version."""
        return str(self.built.measured.device["versions"]["rknn-toolkit2"])


def accuracy(outcome: Outcome) -> dict[str, Any]:
    """The `accuracy_metrics` block."""
    return dict(outcome.built.measured.metrics)


def speed(outcome: Outcome) -> dict[str, Any]:
    """The `inference_performance` block: the simulator's times, and the compiler's estimate for the chip."""
    log = outcome.built.log
    estimated = {
        "note": _ESTIMATE,
        "cycles": log.cycles,
        "ms_at_1_ghz": round(log.cycles / _CYCLES_PER_MS, 4),
        "layers": {unit: len(log.on(unit)) for unit in ("NPU", "CPU", "GPU")},
        "cpu_operators": [f"{layer.op}: {layer.name}" for layer in log.on("CPU")],
        "internal_memory_kb": log.internal_kb,
        "weight_memory_kb": log.weight_kb,
        "traffic_kb": log.traffic_kb,
    }
    return {**outcome.built.measured.inference, "estimated": estimated}


def model_info(outcome: Outcome, request: Request) -> dict[str, Any]:
    """The `model_info` block, as read back from the file; what it takes to compute is as in the ONNX file's record."""
    made = outcome.artefact
    inputs, outputs = (
        [{"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)} for tensor in tensors]
        for tensors in (made.facts.inputs, made.facts.outputs)
    )
    block = {"file": made.path.name, "sha256": made.sha256, "size": made.size}
    return block | _figures(request) | {"inputs": inputs, "outputs": outputs}


def _figures(request: Request) -> dict[str, Any]:
    """`parameters` and `flops` of the ONNX file that it was built from, as the onnx phase counted them."""
    previous, reason = request.previous, _other_record(request)
    if previous is None or reason:
        return {"parameters": None, "parameters_reason": reason, "flops": None, "flops_reason": reason}
    names = ("parameters", "parameters_reason", "flops", "flops_reason")
    counted = {name: previous["model_info"][name] for name in names if name in previous["model_info"]}
    missing = {"flops": None, "flops_reason": "performance_onnx.json does not tell it."}
    return {**({} if "flops" in counted else missing), **counted}


def comparison(outcome: Outcome, request: Request) -> dict[str, Any]:
    """The `comparison_with_onnx` block: metrics beside those of the previous record, outputs beside ONNX Runtime's."""
    measured = outcome.built.measured
    previous, reason = reference_metrics(request)
    block: dict[str, Any] = {"reference": {"file": request.model.path.name, "sha256": request.model.sha256}}
    if previous is None or "status" in measured.metrics:
        block |= {"metrics": None, "metrics_reason": reason or str(measured.metrics["reason"])}
    else:
        block["metrics"] = {
            name: _drop(previous[name], measured.metrics[name])
            for name in COMPARED
            if name in previous and name in measured.metrics
        }
    compared = measured.comparison
    return block | {
        "outputs": list(compared["outputs"]),
        **compared["agreement"],
        "images": compared["images"],
        "images_source": request.images.source,
    }


def _drop(previous: float | None, current: float | None) -> dict[str, Any]:
    defined = previous is not None and current is not None and previous > 0
    drop = performance.relative_drop_percent(previous, current) if defined else None  # type: ignore[arg-type]
    return {"previous": previous, "current": current, "drop_percent": drop}


def reference_metrics(request: Request) -> tuple[Mapping[str, Any] | None, str]:
    """The ONNX model's metrics in the previous record, or None and why they cannot be compared with."""
    previous, reason = request.previous, _other_record(request)
    if previous is None or reason:
        return None, reason
    metrics: Mapping[str, Any] = previous["accuracy_metrics"]
    metric = main_metric(request.model.contract["model"]["task"])
    if metrics.get("status") == "unmeasured" or metric not in metrics:
        return None, f"The onnx phase measured no accuracy: {metrics.get('reason', 'no reason given')}"
    configuration = previous["test_configuration"]
    if request.images.labels is None:
        return None, "No labelled dataset was given (--data)."
    if (configuration["dataset"] or {}).get("sha256") != (request.images.record or {}).get("sha256"):
        return None, "performance_onnx.json was measured on other images or labels."
    evaluation = configuration.get("evaluation", {})
    ours = {"iou": request.iou, "max_detections": request.max_detections}
    if any(evaluation.get(name, value) != value for name, value in ours.items()):
        return None, "performance_onnx.json was measured with another --iou or --max-detections."
    return metrics, ""


def _other_record(request: Request) -> str:
    """Why the previous record tells nothing of this ONNX file; empty where it does."""
    if request.previous is None:
        return "No performance_onnx.json was given (--previous)."
    if request.previous["model_info"].get("sha256") not in (None, request.model.sha256):
        return "performance_onnx.json is about another ONNX file."
    return ""


def judged(outcome: Outcome, request: Request) -> Outcome:
    """The outcome with the variant's gates: the drops against the ONNX model."""
    previous, reason = reference_metrics(request)
    measured = outcome.built.measured
    order = order_of(request.images.images)
    before = gates.previous_side(previous or {}, reason, request.kept, request.model.sha256, order)
    kept = evaluation_file.read(Path(measured.kept)).per_image if measured.kept else None
    main = main_metric(request.model.contract["model"]["task"])
    asked = Question(outcome.variant, "onnx", main, request.gates, outcome.variant)
    found = gates.gates(asked, before, Side(measured.metrics, kept), measured.comparison["outputs"])
    return replace(outcome, gates=tuple(found))


def checks(outcome: Outcome) -> list[Check]:
    """What was checked of the variant without a limit in percent."""
    name, measured, log = outcome.variant, outcome.built.measured, outcome.built.log
    on_cpu = sorted({layer.op for layer in log.on("CPU")})
    return [
        Check(f"{name} read-back", "passed", "shape, mean, std, channel order, target, toolkit and contract"),
        Check(f"{name} operators", "passed", f"on the CPU: {', '.join(on_cpu)}" if on_cpu else "all on the NPU"),
        _finite(name, measured.not_finite),
        _alive(outcome),
    ]


def _finite(variant: Variant, images: list[str]) -> Check:
    if not images:
        return Check(f"{variant} finite", "passed", "every output of every image")
    more = f" and {len(images) - 1} more images" if len(images) > 1 else ""
    detail = f"The {variant} outputs hold NaN or infinity for {images[0]}{more}; a value left the range of FP16."
    return Check(f"{variant} finite", "failed", detail)


def _alive(outcome: Outcome) -> Check:
    name, compared = f"{outcome.variant} scores", outcome.built.measured.comparison
    dead = next((one for one in outcome.findings if one.name == "dead-scores"), None)
    if dead is not None:
        return Check(name, "failed", dead.what)
    if not compared["reference"]:
        return Check(name, "unmeasured", "ONNX Runtime found nothing in these images either")
    return Check(
        name, "passed", f"{compared['reference']} candidates of ONNX Runtime, {compared['build']} of the build"
    )
