"""RKNN-Toolkit2 itself: what it builds, and what each of its failures becomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from mcwbuild.contract import artefacts, inherit
from mcwbuild.contract.errors import StageFailed
from mcwbuild.contract.events import Event, Finished
from stages.rknn import build, calibration
from stages.rknn.children import Child, Children, Loader
from stages.rknn.ground import Ground
from stages.rknn.job import Job, Quantization
from stages.rknn.targets import Variant
from tests.support import toy_onnx


def job(
    folder: Path, model: onnx.ModelProto, variant: Variant = "fp16", platform: str = "rk3588", colours: str = "RGB"
) -> Job:
    given = toy_onnx.source(colours, mean=10.0, std=100.0)
    toy_onnx.package(folder, model, given)
    data = toy_onnx.dataset(folder / "data")
    images = tuple(sorted(str(path) for path in (data.parent / "images" / "val").iterdir()))
    contract = inherit.critical(given)
    listing = None
    if variant == "int8":
        paths = sorted((data.parent / "images" / "train").iterdir())
        listing = str(calibration.write(paths, contract, folder / "cal", lambda done, total: None).file)
    return Job(
        name=variant,
        variant=variant,
        model=str(folder / "best.onnx"),
        export=str(folder / "made.rknn"),
        platform=platform,
        optimization_level=3,
        quantization=Quantization("normal", "channel", 4) if variant == "int8" else None,
        mean=tuple(given["preprocessing"]["normalize"]["mean"]),
        std=tuple(given["preprocessing"]["normalize"]["std"]),
        custom_string='{"mcwbuild": "test"}',
        calibration=listing,
        contract=contract,
        head=toy_onnx.HEAD,
        images=images,
        labelled=True,
        confidence=0.25,
        iou=0.7,
        max_detections=300,
        threads=2,
    )


def run(asked: Job, folder: Path, events: list[Event] | None = None) -> build.Built:
    emit = (lambda event: None) if events is None else events.append
    ground = Ground()
    ground.folder.rmdir()  # its own is not used
    loader = Loader(folder / "loaded", asked.threads, ground)
    try:
        return build.run(asked, Child(folder / "job", loader), emit)
    finally:
        loader.end()


@pytest.mark.parametrize(
    ("variant", "colours"),
    [
        ("fp16", "RGB"),
        ("int8", "BGR"),
        ("int8", "Grayscale"),
        ("fp16", "Grayscale"),
        ("int8", "RGBA"),
        ("fp16", "RGBA"),
    ],
)
def test_a_build_is_measured_in_its_own_process_and_reads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: Variant, colours: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    events: list[Event] = []
    channels = inherit.CHANNELS[colours]
    model = toy_onnx.network(channels=channels)
    built = run(job(tmp_path, model, variant, colours=colours), tmp_path, events)
    facts = artefacts.read_rknn(built.file)
    assert facts.target == ("rk3588",)
    assert facts.mean == (10.0, 11.0, 12.0, 13.0)[:channels]
    assert facts.std == (100.0,) * channels
    assert facts.rgb2bgr is False
    assert facts.quantized is (variant == "int8")
    assert facts.custom_string == '{"mcwbuild": "test"}'
    assert built.measured.device["kind"] == "simulator"
    assert built.measured.inference["fps"] is None
    assert built.measured.metrics["per_class"][0]["instances"] == 4
    # An error in mean, std, layout or channel order would show here: the reference is fed by our own code.
    assert min(row["cosine"] for row in built.measured.comparison["outputs"]) > (0.9999 if variant == "fp16" else 0.98)
    assert built.log.on("NPU")
    assert built.log.cycles > 0
    assert [event.name for event in events if isinstance(event, Finished)] == [
        f"{variant} build",
        f"{variant} compare",
        f"{variant} test",
    ]
    assert not list(elsewhere.iterdir())
    assert list((tmp_path / "job" / "work").glob("check*.onnx"))  # verbose builds write into the working folder


def test_an_unknown_operator_is_named_with_its_layer(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="FooBar") as caught:
        run(job(tmp_path, toy_onnx.network("FooBar")), tmp_path)
    assert caught.value.kind == "operator-unknown"
    assert "/box/extra" in caught.value.found


def test_a_native_abort_is_an_error_and_not_the_end_of_us(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="SIGABRT") as caught:
        run(job(tmp_path, toy_onnx.network(), "int8", "rk2118"), tmp_path)
    assert "Meet unsupported conv" in caught.value.found


def test_a_chip_that_cannot_is_told_in_the_toolkits_words(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="rv1103") as caught:
        run(job(tmp_path, toy_onnx.network(), "fp16", "rv1103"), tmp_path)
    assert caught.value.kind == "no-float"


@pytest.mark.parametrize("alone", [False, True])
def test_a_build_that_is_alone_is_made_by_the_process_that_loaded(tmp_path: Path, alone: bool) -> None:
    asked = job(tmp_path, toy_onnx.network())
    children = Children(asked.threads, ("fp16",), Ground(), alone=alone)
    try:
        (loader,) = children._loaders.values()
        child = children.of("fp16")
        built = build.run(replace(asked, export=str(child.folder / "made.rknn")), child, lambda event: None)
        assert built.file.stat().st_size > 0
        assert (child.process is loader.process) is alone
        assert loader.is_there is not alone
        other = children.of("int8")  # nobody expected it, and it is made all the same
        again = build.run(replace(asked, export=str(other.folder / "made.rknn")), other, lambda event: None)
        assert again.file.stat().st_size > 0
    finally:
        children.end()
