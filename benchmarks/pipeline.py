"""Frames a second of `npu_inference.py` on three cores and on one, on a stand-in for the board.

There is no NPU here: the stand-in's inference takes 20 ms on each of its three cores, and the outputs are recorded.
What is measured is the program around it: preparation of a 1280 x 720 picture, decoding of a 640 x 640 head with 80
classes and 30 objects, order, threads. Both sides are `--benchmark --json`, the one with `--core all`, the other with
`--core 0`, each with its preparation and decoding beside the inference of other frames.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import decode
import sides

from tests.support.board import Board, contract

LATENCY_MS = 20
FRAMES = 150
NAMES = [f"class {number}" for number in range(decode.CLASSES)]


def board(folder: Path) -> Board:
    """A stand-in for a board with a rk3588, and the program on it."""
    block = contract(decode.SIZE, decode.SIZE)
    block["classes"] = {"names": NAMES, "num_classes": len(NAMES)}
    outputs = decode.drawn(decode.JUDGED)
    head = {**decode.HEAD, "outputs": [f"output_{number}" for number in range(len(outputs))]}
    shapes = [list(output.shape) for output in outputs]
    made = Board.make(folder, contract=block, head=head, shapes=shapes, target="rk3588")
    made.record(outputs)
    made.configure(latency_ms=LATENCY_MS, keep=False)
    made.image("picture.jpg", (720, 1280))
    return made


def seconds(on: Board, core: str) -> float:
    """Seconds of one frame."""
    done = on.run("picture.jpg", "--benchmark", "--json", "--core", core, "--runs", FRAMES)
    if done.returncode:
        raise sides.BenchmarkError(done.stderr[-2000:])
    return 1 / float(json.loads(done.stdout)["fps"]["all_contexts"])


def rows(args: argparse.Namespace) -> list[sides.Row]:
    """Three cores beside one."""
    with tempfile.TemporaryDirectory(prefix="mcwbuild-benchmark-") as folder:
        made = board(Path(folder))
        times = sides.alternate(lambda: seconds(made, "all"), lambda: seconds(made, "0"), args.rounds)
    return [
        sides.Row("a frame through a stand-in of 20 ms a core", "3 cores", "1 core", *times, sides.Goal("speed", 2.7))
    ]


if __name__ == "__main__":
    sides.main(__doc__, rows)
