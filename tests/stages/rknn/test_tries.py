"""What a search asks of the toolkit: layers in a finer type, their errors, a build whose accuracy is not measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mcwbuild.contract.errors import StageFailed
from stages.rknn.job import Finer, Quantization
from stages.rknn.layer_errors import LayerError
from tests.stages.rknn.test_toolkit import job, run
from tests.support import toy_onnx

STEM = ("c", "features")


def finer(kind: Finer, *tensors: str) -> Quantization:
    return Quantization("normal", "channel", 4, tuple((name, kind) for name in tensors))


def types(built: object) -> set[str]:
    return {layer.dtype for layer in built.log.layers if layer.cycles}  # type: ignore[attr-defined]


@pytest.mark.parametrize(("platform", "kind"), [("rk3588", "float16"), ("rv1106", "int16")])
def test_layers_are_computed_in_a_finer_type_and_their_errors_are_known(
    tmp_path: Path, platform: str, kind: Finer
) -> None:
    plain = job(tmp_path, toy_onnx.network(), "int8", platform)
    built = run(replace(plain, quantization=finer(kind, *STEM), analyse=True), tmp_path)
    assert types(built) == {"INT8", kind.upper()}
    found = [LayerError.of(one) for one in built.measured.layers]
    stem = next(layer for layer in found if "features" in layer.tensors)
    assert stem.cosine is not None
    assert stem.cosine > 0.999
    assert {name for layer in found for name in layer.reads} >= {"features"}
    assert built.measured.metrics["per_class"][0]["instances"] == 4


def test_the_toolkit_chooses_layers_by_itself(tmp_path: Path) -> None:
    plain = job(tmp_path, toy_onnx.network(), "int8")
    chosen = Quantization("normal", "channel", 4, auto_hybrid=0.99999)
    assert "FLOAT16" in types(run(replace(plain, quantization=chosen), tmp_path))


def test_a_build_below_the_bar_is_compared_and_not_evaluated(tmp_path: Path) -> None:
    built = run(replace(job(tmp_path, toy_onnx.network(), "int8"), prune_below=99.0), tmp_path)
    assert "signal-to-noise" in built.measured.pruned
    assert built.measured.metrics["status"] == "unmeasured"
    assert built.measured.comparison["outputs"]
    assert built.measured.layers == []


def test_a_chip_of_integers_refuses_float16_in_words(tmp_path: Path) -> None:
    plain = job(tmp_path, toy_onnx.network(), "int8", "rv1106")
    with pytest.raises(StageFailed, match="custom_quantize_layers"):
        run(replace(plain, quantization=finer("float16", *STEM)), tmp_path)


def test_builds_with_other_layers_take_the_ranges_that_an_earlier_one_found(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir(), (tmp_path / "second").mkdir()
    plain = replace(job(tmp_path, toy_onnx.network(), "int8"), ranges=str(tmp_path / "ranges"))
    first = run(replace(plain, quantization=finer("float16", *STEM)), tmp_path / "first")
    again = run(replace(plain, quantization=finer("float16", *STEM)), tmp_path / "second")
    assert "hybrid_quantization_step1" in first.measured.seconds
    assert "hybrid_quantization_step1" not in again.measured.seconds
    assert again.measured.metrics == first.measured.metrics
    assert again.measured.comparison == first.measured.comparison
    assert again.log.layers == first.log.layers


def test_each_layer_is_held_against_onnx_runtime(tmp_path: Path) -> None:
    plain = job(tmp_path, toy_onnx.network(), "int8")
    found = [LayerError.of(one) for one in run(replace(plain, analyse=True), tmp_path).measured.layers]
    known = [layer for layer in found if layer.onnx_cosine is not None]
    assert {name for layer in known for name in layer.tensors} >= {"features"}
    for layer in known:
        assert layer.onnx_cosine == pytest.approx(layer.total_cosine, abs=1e-4)  # the toolkit's float network is right
        assert layer.onnx_snr_db is not None
        assert layer.onnx_snr_db > 20
        assert layer.added is not None
        assert layer.added >= 0
