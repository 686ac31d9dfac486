"""The ONNX graph: exported, simplified, labelled, checked."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import onnxslim
import torch

import mcwbuild
import onnx
from mcwbuild.contract import inherit
from mcwbuild.contract.errors import StageFailed
from stages.common import graph_figures
from stages.onnx.cut import INPUT

_TORCHSCRIPT_OPSETS = range(9, 18)  # from 18 on the dynamo exporter; at 17 and below it writes an invalid Split
# What a library that rewrites graphs may stumble over; each of these leaves the graph as it was exported.
_STUMBLES = (
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError),
    *(onnx.checker.ValidationError, onnx.shape_inference.InferenceError),
)


def export(network: torch.nn.Module, size: Sequence[int], channels: int, names: Sequence[str], opset: int) -> bytes:
    """The network as a serialised ONNX model: static float32 [1, channels, H, W] in, `names` out, no normalisation.

    Raises StageFailed, with the operator, where the exporter cannot.
    """
    stream = io.BytesIO()
    example = torch.zeros(1, channels, *size)
    dynamo = opset not in _TORCHSCRIPT_OPSETS
    try:
        with warnings.catch_warnings(), redirect_stdout(None):
            warnings.simplefilter("ignore")  # the exporter's own deprecation, constant folding of Slice
            torch.onnx.export(
                network,
                (example,),
                stream,
                input_names=[INPUT],
                output_names=list(names),
                opset_version=opset,
                dynamo=dynamo,
                external_data=False,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError) as error:
        raise StageFailed(
            "The network cannot be exported to ONNX.",
            f"The exporter of PyTorch {torch.__version__} says: {str(error).strip().splitlines()[0][:300]}.",
            "Try another --opset.",
            kind="export",
        ) from error
    return stream.getvalue()


def simplify(data: bytes) -> tuple[bytes, str]:
    """The model simplified by onnxslim, and why not where it could not: then the model as it came."""
    try:
        with redirect_stdout(None):
            slim = onnxslim.slim(onnx.load_from_string(data))
        if not isinstance(slim, onnx.ModelProto):
            return data, "onnxslim gave no model"
        return slim.SerializeToString(deterministic=True), ""
    except _STUMBLES as error:
        return data, f"onnxslim: {type(error).__name__}: {str(error)[:300]}"


def label(data: bytes, source: Mapping[str, Any], head: Mapping[str, Any]) -> bytes:
    """The model with its contract, head and maker as metadata, and without the exporter's notes.

    The notes (stack traces, documentation) name files of this machine.
    """
    model = onnx.load_from_string(data)
    del model.metadata_props[:]
    model.doc_string = ""
    model.graph.doc_string = ""
    model.graph.name = str(source["model"]["name"])
    parts = model.graph
    for part in (*parts.node, *parts.value_info, *parts.input, *parts.output, *parts.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    named = {key: source["model"][key] for key in ("name", "type", "task")}
    for key, value in (
        ("mcwbuild.contract", inherit.canonical(inherit.critical(source))),
        ("mcwbuild.contract_sha256", inherit.contract_sha256(source)),
        ("mcwbuild.head", json.dumps(head)),
        ("mcwbuild.model", json.dumps(named)),
        ("mcwbuild.version", mcwbuild.__version__),
    ):
        model.metadata_props.add(key=key, value=value)
    labelled: bytes = model.SerializeToString(deterministic=True)
    return labelled


def check(data: bytes) -> None:
    """Full check by onnx, and strict shape inference. Raises StageFailed where the graph is not valid."""
    try:
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise StageFailed(
            "The exported ONNX graph is not valid.",
            f"onnx {onnx.__version__} says: {str(error).strip().splitlines()[0][:300]}.",
            "Try another --opset, or --no-simplify.",
            kind="graph",
        ) from error


def figures(data: bytes, *, tried: bool = False) -> dict[str, Any]:
    """`parameters` and `flops` of the performance record's `model_info`; the graph has passed `check`.

    `tried`: simplifying it has been tried already.
    """
    model = _with_shapes(data)
    flops, reason = graph_figures.flops(model)
    if reason and not tried:  # shapes that the graph computes stand in it as constants once it is simplified
        flops, reason = graph_figures.flops(_with_shapes(simplify(data)[0]))
    return {
        "parameters": graph_figures.parameters(model),
        "flops": flops,
        **({"flops_reason": reason} if reason else {}),
    }


def _with_shapes(data: bytes) -> Any:
    return onnx.shape_inference.infer_shapes(onnx.load_from_string(data), data_prop=True)
