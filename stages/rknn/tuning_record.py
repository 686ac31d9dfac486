"""What the documents tell of a search and of the layers: the tries, the best of them, where each layer runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcwbuild.contract import performance
from mcwbuild.contract.limits import COSINE
from stages.rknn.layer_errors import LayerError
from stages.rknn.outcome import Outcome
from stages.rknn.request import Request
from stages.rknn.targets import VARIANTS, Variant
from stages.rknn.tune import choice
from stages.rknn.tune.plan import LEAST_SHARE
from stages.rknn.tune.search import Found
from stages.rknn.tune.trial import Trial, int8_share

_COSTLIEST = 5  # layers that a failed search names
Tuned = Mapping[Variant, Found]


def history(tuned: Tuned, request: Request) -> list[dict[str, Any]]:
    """`tuning_history`: every build that was made, in order."""
    made: list[dict[str, Any]] = []
    for found in tuned.values():
        level = {"variant": found.outcome.variant, "optimization_level": request.optimization_level}
        tries = [_entry(one) for one in found.tries] or [_fp16(found.outcome, request)]
        made += [level | entry for entry in tries]
    return made


def _fp16(outcome: Outcome, request: Request) -> dict[str, Any]:
    measured = outcome.built.measured
    metric = performance.main_metric(request.model.contract["model"]["task"])
    return {
        "algorithm": None,
        "calibration_images": None,
        **({} if metric == COSINE else {metric: measured.metrics.get(metric)}),
        **({"disabled_rules": list(outcome.built.disabled_rules)} if outcome.built.disabled_rules else {}),
        "build_seconds": measured.seconds["build"],
        "peak_memory_mb": round(measured.peak_kb / 1024),
    }


def _entry(one: Trial) -> dict[str, Any]:
    chosen = one.quantization
    return {
        "name": one.name,
        "why": one.why,
        "algorithm": chosen.algorithm,
        "method": chosen.method,
        "calibration_images": chosen.images,
        "layers": dict(chosen.layers),
        "auto_hybrid": chosen.auto_hybrid,
        "snr_db": one.snr_db,
        **({} if one.metric is None else {one.metric: one.accuracy}),
        "drop": one.drop,
        "limit": one.limit,
        "interval": None if one.interval is None else list(one.interval),
        "size": one.size,
        "cycles": one.cycles,
        "int8_share": one.int8_share,
        **({"disabled_rules": list(one.disabled_rules)} if one.disabled_rules else {}),
        "build_seconds": one.build_seconds,
        "seconds": one.seconds,
        "peak_memory_mb": one.peak_memory_mb,
        "verdict": one.verdict,
        "reason": one.reason,
    }


def pareto(tuned: Tuned) -> list[dict[str, Any]]:
    """The tries that no other one beats in accuracy, size, share of INT8 and cycles."""
    return choice.pareto(tuned["int8"].tries) if "int8" in tuned else []


def layers(tuned: Tuned) -> dict[str, Any]:
    """Each variant's layers, as the compiler places them; with their errors where they were measured."""
    return {variant: _rows(tuned[variant]) if variant in tuned else [] for variant in VARIANTS}


def _rows(found: Found) -> list[dict[str, Any]]:
    by_node = {node: layer for layer in found.layers for node in layer.nodes}
    rows = []
    for row in found.outcome.built.log.layers:
        told: dict[str, Any] = {"name": row.name, "op": row.op, "dtype": row.dtype, "unit": row.unit}
        told |= {"cycles": row.cycles, "traffic_kb": row.traffic_kb}
        rows.append(told | (_errors(by_node[row.name]) if row.name in by_node else {}))
    return rows


def _errors(layer: LayerError) -> dict[str, Any]:
    return {
        "tensor": layer.tensors[-1],
        "cosine": layer.cosine,
        "error": layer.error,
        "total_cosine": layer.total_cosine,
        "total_error": layer.total_error,
        "onnx_cosine": layer.onnx_cosine,
        "onnx_snr_db": layer.onnx_snr_db,
    }


def hybrid(found: Found) -> bool | dict[str, Any]:
    """`quantization.int8.hybrid`: which layers are in a finer type; False where none is."""
    chosen = found.outcome.quantization
    if chosen is None or not chosen.mixes:
        return False
    share = int8_share(found.outcome.built.log)
    return {
        "layers": dict(chosen.layers),
        "auto_hybrid": chosen.auto_hybrid,
        "int8_share": share,
        "mixed": share is not None and share < LEAST_SHARE,
    }


def issues(tuned: Tuned) -> list[tuple[str, str, str]]:
    """What is worth knowing of the search: what, its cause, its remedy."""
    if "int8" not in tuned or len(tuned["int8"].tries) < 2:
        return []
    found = tuned["int8"]
    told = []
    if found.reason:
        cause = f"{found.reason} {_costliest(found.layers)}"
        fp16 = tuned["fp16"].outcome if "fp16" in tuned else None
        if fp16 is not None and any(gate.status == "failed" for gate in fp16.gates):
            cause += " FP16 misses its gate too."
        remedy = "Look at tuning_history and layers; try --tune full or other images"
        told.append((f"None of {len(found.tries)} INT8 builds passes; the best is kept", cause.strip(), remedy))
    share = int8_share(found.outcome.built.log)
    if share is not None and share < LEAST_SHARE:
        what = f"best_int8.rknn is mixed: {share:.0%} of its convolutions' cycles are in INT8"
        told.append((what, "No build with more of them in INT8 passed", "FP16 may be as fast: compare their cycles"))
    return told


def _costliest(found: Sequence[LayerError]) -> str:
    """The layers that lose most, in words."""
    known = [layer for layer in found if layer.cosine is not None]
    worst = sorted(known, key=lambda layer: layer.cosine or 0.0)[:_COSTLIEST]
    if not worst:
        return ""
    named = ", ".join(f"{layer.nodes[0]} (cosine {layer.cosine:.4f})" for layer in worst)
    return f"Most is lost in {named}."
