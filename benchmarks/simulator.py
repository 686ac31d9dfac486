"""Accuracy of an INT8 build on the toolkit's simulator: in copies of the process, beside one process.

Both sides are `stages.common.evaluate.evaluate` as the rknn phase's child calls it, on 500 images of the example (its
own, several times over), in the process that built the model; one has as many threads as the machine, the other one.
What they measure has to be the same to the last digit. Needs the rknn phase's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import sides

from mcwbuild.contract import dataset
from stages.common import ground_truth
from stages.common.evaluate import Evaluation, Settings, evaluate
from stages.families import family_of
from stages.rknn import calibration, measure
from stages.rknn.simulate import SimulatorRunner
from stages.rknn.toolkit import Toolkit

GOAL = sides.Goal("speed", 1.7)
IMAGES, CALIBRATION_IMAGES, TARGET = 500, 20, "rk3588"
SETTINGS = Settings(confidence=0.25, iou=0.7, max_detections=300, threads=1, timed=measure.TIMED)


def rows(args: argparse.Namespace) -> list[sides.Row]:
    """One row."""
    notes = {note.key: note.value for note in onnx.load(args.onnx).metadata_props}
    contract, head = json.loads(notes["mcwbuild.contract"]), json.loads(notes["mcwbuild.head"])
    splits = dataset.read(args.data).splits
    images = list(islice(cycle([*splits["val"], *splits["train"]]), IMAGES))
    labels = ground_truth.read_labels(images, contract["classes"]["num_classes"])
    runner, family = _built(args.onnx, contract, dataset.pick(splits["train"], CALIBRATION_IMAGES)), family_of(head)
    found: dict[int, Evaluation] = {}

    def judge(threads: int) -> None:
        settings = replace(SETTINGS, threads=threads)
        found[threads] = evaluate(
            runner,
            lambda outputs, confidence: family.decode(outputs, head, confidence),
            images,
            labels,
            contract,
            settings,
        )

    times = sides.alternate(sides.calls(lambda: judge(args.threads)), sides.calls(lambda: judge(1)), args.rounds)
    if not same(found[args.threads], found[1]):
        raise sides.BenchmarkError("The copies measured something else than one process.")
    what = f"{IMAGES} images on the simulator, {'x'.join(map(str, contract['input']['size']))}"
    return [sides.Row(what, f"{args.threads} processes", "one process", *times, GOAL)]


def same(one: Evaluation, other: Evaluation) -> bool:
    """Whether both found the same boxes with the same scores, and judged them the same."""
    return one.metrics == other.metrics and all(
        np.array_equal(mine, theirs)
        for ours, others in zip(one.results, other.results, strict=True)
        for mine, theirs in zip(vars(ours).values(), vars(others).values(), strict=True)
    )


def _built(model: Path, contract: Any, images: list[Path]) -> SimulatorRunner:
    """The INT8 build of the model, in the simulator."""
    toolkit, model, here = Toolkit(), model.resolve(), Path.cwd()
    normal = contract["preprocessing"]["normalize"]
    with tempfile.TemporaryDirectory(prefix="mcwbuild-benchmark-") as folder:
        chosen = calibration.write(images, contract, Path(folder), lambda _done, _total: None)
        os.chdir(folder)  # the toolkit leaves files of its own where it works
        toolkit.renew()
        toolkit.call("config", mean_values=[normal["mean"]], std_values=[normal["std"]], target_platform=TARGET)
        toolkit.call("load_onnx", str(model))
        toolkit.call("build", do_quantization=True, dataset=str(chosen.file))
        os.chdir(here)
    toolkit.call("init_runtime")
    return SimulatorRunner(toolkit, TARGET)


if __name__ == "__main__":
    sides.main(__doc__, rows, "--onnx", "--data")
