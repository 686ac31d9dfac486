"""The evaluator beside a bare loop: the same JPEG files, letterbox, ONNX Runtime session and threads.

Ours is `stages.common.evaluate.evaluate` as the onnx phase calls it, with decoding, suppression, timing and accuracy.
The bare loop reads, pads, normalises and runs the network, and looks at no output: what anybody's script does at least.
Needs the onnx phase's environment.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import sides

from mcwbuild.contract import dataset
from stages.common import ground_truth
from stages.common.evaluate import Settings, evaluate
from stages.families import family_of
from stages.onnx.ort_runner import OrtRunner

GOAL = sides.Goal("speed", 0.9)
CONFIDENCE, IOU, MAX_DETECTIONS, WARMUP = 0.25, 0.7, 300, 3


class Bare:
    """The loop that a person writes: one image at a time through one session."""

    def __init__(self, model: Path, size: tuple[int, int], threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._size, self._input = size, self._session.get_inputs()[0].name

    def run(self, images: list[Path]) -> None:
        """All images; the first one is run three times more, as warm-up, like ours."""
        for _ in range(WARMUP):
            self._session.run(None, {self._input: self._letterboxed(images[0])})
        for image in images:
            self._session.run(None, {self._input: self._letterboxed(image)})

    def _letterboxed(self, path: Path) -> np.ndarray:
        """float32 [1, 3, H, W] in 0..1, red-green-blue."""
        image = cv2.imread(str(path))
        height, width = self._size
        scale = min(height / image.shape[0], width / image.shape[1])
        rows, columns = round(image.shape[0] * scale), round(image.shape[1] * scale)
        if (rows, columns) != image.shape[:2]:
            image = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
        top, left = (height - rows) // 2, (width - columns) // 2
        edges = (top, height - rows - top, left, width - columns - left)
        image = cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT, value=(114, 114, 114))
        planes = image[:, :, ::-1].transpose(2, 0, 1)[None]
        return np.ascontiguousarray(planes, dtype=np.float32) / 255.0


def rows(args: argparse.Namespace) -> list[sides.Row]:
    """The example's validation images through the example's network, exported at its own size and at 640 x 640."""
    return [_row(model, args) for model in (args.onnx, args.onnx_large)]


def _row(model: Path, args: argparse.Namespace) -> sides.Row:
    notes = onnxruntime.InferenceSession(str(model)).get_modelmeta().custom_metadata_map
    contract, head = json.loads(notes["mcwbuild.contract"]), json.loads(notes["mcwbuild.head"])
    images = list(dataset.read(args.data).splits["val"])
    labels = ground_truth.read_labels(images, contract["classes"]["num_classes"])
    runner = OrtRunner(model.read_bytes(), contract, head["outputs"], args.threads)
    family = family_of(head)
    settings = Settings(CONFIDENCE, IOU, MAX_DETECTIONS, args.threads, WARMUP)

    def decode(outputs: Any, confidence: float) -> Any:
        return family.decode(outputs, head, confidence)

    bare = Bare(model, tuple(contract["input"]["size"]), args.threads)
    times = sides.alternate(
        sides.calls(lambda: evaluate(runner, decode, images, labels, contract, settings)),
        sides.calls(lambda: bare.run(images)),
        args.rounds,
    )
    what = f"evaluating {len(images)} images, {'x'.join(map(str, contract['input']['size']))}"
    return sides.Row(what, "`stages.common.evaluate`", "a bare loop", *times, GOAL)


if __name__ == "__main__":
    sides.main(__doc__, rows, "--onnx", "--onnx-large", "--data")
