"""A stand-in for a board to run `npu_inference.py` on: a folder with the program, a model file and recorded outputs."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract.targets import TARGETS
from stages.rknn import script
from tests.support.rknn_file import rknn_file

STANDIN = Path(__file__).with_name("standin_rknnlite")
CONTRACT_SHA256 = "c0" * 32
HEAD = {
    "family": "yolo_dfl",
    "strides": [8, 16],
    "reg_max": 16,
    "num_classes": 3,
    "outputs": ["boxes_8", "scores_8", "boxes_16", "scores_16"],
    "score_activation": "sigmoid",
}
# A quote, a newline, template and shell syntax, a terminal escape: names are data, wherever they go.
NAMES = ['it\'s "{{7*7}}"', "two\nlines ${HOME} $(id)", "\x1b[31mred \N{PILE OF POO}"]


def contract(height: int = 64, width: int = 96, colours: str = "RGB") -> dict[str, Any]:
    """A block of critical values for an input of this size."""
    return {
        "model": {"task": "object_detection"},
        "classes": {"names": NAMES, "num_classes": 3},
        "input": {"size": [height, width], "channels": 3, "format": colours, "dtype": "float32", "layout": "NCHW"},
        "preprocessing": {
            "resize": {"method": "letterbox"},
            "padding": {"enabled": True, "color": [114, 114, 114], "position": "center"},
            "normalize": {"enabled": True, "method": "mean_std", "mean": [0.0] * 3, "std": [255.0] * 3},
        },
    }


def outputs(size: tuple[int, int] = (64, 96), seed: int = 0) -> list[NDArray[np.float32]]:
    """Head outputs that hold a few dozen detections, the same for the same seed."""
    random = np.random.default_rng(seed)
    made = []
    for stride in (8, 16):
        shape = (size[0] // stride, size[1] // stride)
        made.append(random.normal(0, 2, (1, 64, *shape)).astype(np.float32))
        made.append((random.random((1, 3, *shape)) ** 4).astype(np.float32))
    return made


@dataclass
class Board:
    """The folder, and the data that the program carries."""

    folder: Path
    data: dict[str, Any]

    @classmethod
    def make(cls, folder: Path, **changes: Any) -> Board:
        """A board with one model beside the program, and recorded outputs."""
        data: dict[str, Any] = {
            "contract": contract(),
            "contract_sha256": CONTRACT_SHA256,
            "head": HEAD,
            "shapes": [list(output.shape) for output in outputs()],
            "target": "rk3576",
            "lite": True,
            "toolkit": "2.3.2",
            "postprocessing": {"confidence": 0.25, "nms": 0.7, "max_detections": 300},
            **changes,
        }
        target = TARGETS[data["target"]]
        names = data["head"].get("outputs") or [f"output_{number}" for number in range(len(data["shapes"]))]
        named = dict(zip(names, data["shapes"], strict=True))
        model = rknn_file(data["contract"], CONTRACT_SHA256, named, target.platform)
        (folder / "best_int8.rknn").write_bytes(model)
        data["models"] = [{"file": "best_int8.rknn", "sha256": hashlib.sha256(model).hexdigest()}]
        data |= {"chips": list(target.chips), "core_masks": list(target.core_masks)}
        board = cls(folder, data)
        board.record(outputs())
        board.configure(keep=True)
        (folder / "npu_inference.py").write_text(script.script(data["head"]["family"], data), "ascii")
        return board

    def record(self, arrays: list[NDArray[np.float32]]) -> None:
        """Let the stand-in give these outputs."""
        np.savez(self.folder / "outputs.npz", **{f"{number:02d}": array for number, array in enumerate(arrays)})

    def configure(self, **settings: Any) -> None:
        """Change what the stand-in is like; `rknnlite.settings` says what there is."""
        file = self.folder / "standin.json"
        known = json.loads(file.read_text("utf-8")) if file.exists() else {}
        file.write_text(json.dumps({**known, **settings}), "utf-8")

    def fail(self, call: str, printed: str, at: int = 1) -> None:
        """Let the stand-in fail in the n-th `call`, and all later ones."""
        self.configure(fail={"call": call, "print": printed, "at": at})

    def image(self, name: str = "image.png", size: tuple[int, int] = (120, 100), seed: int = 1) -> Path:
        """A picture [H, W] on the board."""
        path = self.folder / name
        assert cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))
        return path

    @classmethod
    def of_package(cls, package: Path, folder: Path) -> Board:
        """A board onto which a person copied a package's models and program."""
        for file in [*package.glob("*.rknn"), package / "npu_inference.py"]:
            shutil.copy(file, folder)
        last = (folder / "npu_inference.py").read_text("ascii").partition("\nDATA = ")[2].partition("  # noqa")[0]
        return cls(folder, json.loads(ast.literal_eval(last)))

    def run(
        self,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        given: bytes = b"",
        prelude: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run the program as a person would, without the project on the path.

        `given` comes on its standard input; `prelude` is run before, to take a library away or to put a camera in.
        """
        with self.start(*arguments, environment=environment, prelude=prelude, text=False) as running:
            output, errors = running.communicate(given)
        code = running.returncode
        return subprocess.CompletedProcess(running.args, code, *(part.decode("utf-8") for part in (output, errors)))

    def start(
        self, *arguments: object, environment: Mapping[str, str] | None = None, prelude: str = "", text: bool = True
    ) -> subprocess.Popen[Any]:
        """The running program, with pipes for all that it reads and writes."""
        return subprocess.Popen(
            [sys.executable, "-I", "-c", self._start(prelude), *map(str, arguments)],
            cwd=self.folder,
            env={"PATH": os.defpath, "STANDIN_RKNNLITE": str(self.folder), **(environment or {})},
            text=text,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A shell's job in the background ignores ^C, and so does what it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def _start(self, prelude: str) -> str:
        """Isolated, so that nothing of the project can be imported; only the stand-in is added."""
        place = str(self.folder / "npu_inference.py")
        return (
            f"import sys, runpy; sys.path.append({str(STANDIN)!r}); sys.argv[0] = {place!r}\n{prelude}\n"
            f"runpy.run_path({place!r}, run_name='__main__')"
        )
