"""The ledger of the example, and the example beside a conversion that was calibrated on too little."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.commands import EXAMPLE, mcwbuild


def test_the_ledger_shows_every_model_with_its_figures_or_the_reasons(example: Path) -> None:
    done = mcwbuild("ledger", example, "--json", cwd=example)
    assert done.code == 0, done.stderr
    models = {row["model"]: row for row in done.json["runs"][0]["models"]}
    assert list(models) == ["PT", "ONNX", "rk3588 FP16", "rk3588 INT8"]
    assert len({row["flops"] for row in models.values()}) == 1
    assert models["ONNX"]["flops"] > 1e9
    for name in ("PT", "ONNX"):
        parts = models[name]["latency"]
        assert 0 < parts["inference"]["p50"] <= parts["inference"]["p90"] <= parts["inference"]["p99"]
        assert models[name]["device_model"]
        assert models[name]["threads"] >= 1
    for name in ("rk3588 FP16", "rk3588 INT8"):
        assert models[name]["latency"] is models[name]["fps"] is None
        assert {"latency", "FPS"} <= set(models[name]["unmeasured"])
        assert models[name]["estimated"]["ms_at_1_ghz"] == pytest.approx(
            models[name]["estimated"]["cycles"] / 1e6, abs=1e-4
        )
        assert models[name]["cpu"]
    assert models["rk3588 INT8"]["interval"][0] < models["rk3588 INT8"]["drop_percent"]


def test_a_run_beside_itself_is_the_same(example: Path) -> None:
    done = mcwbuild("compare", example, example, "--fail-on-worse", "--json", cwd=example)
    assert done.code == 0, done.stderr
    assert {model["verdict"] for model in done.json["models"]} == {"the same"}
    assert all(model["identical"] and model["unpaired"] is None for model in done.json["models"])


def test_a_conversion_that_lost_accuracy_is_worse_beyond_noise(example: Path, tmp_path: Path) -> None:
    """INT8 is calibrated on two grey images, which have next to none of the values that photographs have."""
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((256, 256, 3), 128, np.uint8))
    (tmp_path / "grey.txt").write_text("a.png\nb.png\n")
    onnx, data = example / "onnx_package" / "best.onnx", EXAMPLE / "data.yaml"
    words = ("--target", "rk3588", "--dtype", "int8", "--tune", "off", "--dataset", tmp_path / "grey.txt")
    words += ("--calibration-images", "2")
    made = mcwbuild("convert", "--onnx", onnx, "--data", data, *words, "--out", tmp_path / "out", cwd=tmp_path)
    assert made.code == 3, made.stderr
    both = (example / "rknn_package", tmp_path / "out" / "rknn_package")
    done = mcwbuild("compare", *both, "--fail-on-worse", "--json", cwd=tmp_path)
    assert done.code == 3
    (model,) = done.json["models"]
    whole = next(row for row in model["metrics"] if row["name"] == "map50_95")
    assert (model["model"], model["verdict"], whole["interval"][1] < 0) == ("rk3588 INT8", "worse", True)
    assert {row["what"] for row in done.json["options"]} >= {"--calibration-images", "--dtype"}
    assert "worse" in {row["verdict"] for row in model["classes"]}
    assert done.json["only_a"] == ["rk3588 FP16"]
    other = mcwbuild("compare", *reversed(both), "--fail-on-worse", "--json", cwd=tmp_path)
    assert (other.code, other.json["models"][0]["verdict"]) == (0, "better")
