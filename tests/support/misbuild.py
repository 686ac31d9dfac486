"""Spoil a package's network so that the sums still agree: `misbuild.py PACKAGE KIND SEED`, where onnx is installed.

The ONNX file is changed, the manifest and the sums are written for the changed file, and nothing else is touched.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mcwbuild.contract import manifest

SHIFT, SCALE = 60 / 255, 1 / 3  # of a mean and a std that were written in other units


def _first(model: onnx.ModelProto) -> onnx.TensorProto:
    """The weights of the convolution that sees the image, [out, 3, h, w]."""
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    return next(one for one in model.graph.initializer if one.name == node.input[1])


def _write(weight: onnx.TensorProto, values: np.ndarray) -> None:
    weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), weight.name))


def colours(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """Red and blue exchanged."""
    _write(_first(model), numpy_helper.to_array(_first(model))[:, ::-1])


def std(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """A std three times as large."""
    _write(_first(model), numpy_helper.to_array(_first(model)) * SCALE)


def mean(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """Another mean: 60 of 255 too much."""
    name = model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["mcw_shifted" if one == name else one for one in node.input]
    model.graph.initializer.append(numpy_helper.from_array(np.array([SHIFT], np.float32), "mcw_shift"))
    model.graph.node.insert(0, helper.make_node("Sub", [name, "mcw_shift"], ["mcw_shifted"]))


def classes(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """Every class gives its place to the next one, in each layer whose output is the scores."""
    makers = {name: node for node in model.graph.node for name in node.output}
    weights = {one.name: one for one in model.graph.initializer}
    turned = 0
    for output in model.graph.output:
        node = makers[output.name]
        while node.op_type not in ("Conv", "Gemm", "MatMul"):
            node = makers.get(node.input[0], node)
            if node.op_type in ("Concat", "Split", "Add"):
                break
        scores = any(word in output.name for word in ("score", "prob", "class", "logit"))
        if scores and node.op_type in ("Conv", "Gemm"):
            for name in node.input[1:]:
                _write(weights[name], np.roll(numpy_helper.to_array(weights[name]), 1, axis=0))
            turned += 1
    if not turned:
        raise SystemExit(f"no scores among {[one.name for one in model.graph.output]}")


def size(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """Of another size than is written."""
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    sizes[2].dim_value, sizes[3].dim_value = sizes[2].dim_value - 32, sizes[3].dim_value - 32
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]


def not_a_number(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """One weight that is no number."""
    values = numpy_helper.to_array(_first(model)).copy()
    values.flat[int(random.integers(values.size))] = np.nan
    _write(_first(model), values)


def other_weights(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """The same layers as a network of other training has them: as wide, and nothing learned in common."""
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT and len(weight.dims) == 4 and np.prod(weight.dims) > 64:
            _write(weight, random.permutation(numpy_helper.to_array(weight).ravel()).reshape(tuple(weight.dims)))


KINDS: dict[str, Callable[[onnx.ModelProto, np.random.Generator], None]] = {
    "colours exchanged": colours,
    "std scaled": std,
    "mean moved": mean,
    "classes permuted": classes,
    "another size": size,
    "a weight that is no number": not_a_number,
    "another model's weights": other_weights,
}


def main() -> None:
    """Spoil it."""
    package, kind, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    model = onnx.load(str(package / "best.onnx"))
    KINDS[kind](model, np.random.default_rng(seed))
    (package / "best.onnx").write_bytes(model.SerializeToString())
    manifest.add(package, "best.onnx")


if __name__ == "__main__":
    main()
