"""A stand-in for `rknnlite.api` of rknn-toolkit-lite2 2.3.2: no NPU computes here.

Calls, return values and messages are the real one's, as far as they are known from its Python source, its manual and
users' logs: a runtime error never raises; it is printed, and the call gives -1 or None. What is printed names the
stand-in, and so do the package's version and `get_sdk_version`. Where the real one's behaviour is not known, the
stand-in is strict: input of another dtype than `data_type` says is refused.

Outputs are recorded ones or ONNX Runtime's (`compute`). A folder holds the recording and `standin.json` (`settings`):
the one that STANDIN_RKNNLITE names, else the model's own.
"""

from __future__ import annotations

import threading
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcwbuild.contract.artefacts import RknnFacts, read_rknn
from rknnlite import __version__
from rknnlite.compute import Computer, Nothing
from rknnlite.librknnrt import CORES, MASKS, NPUS, STANDIN, TWINS, Refused, error, mask_on, occupied, opened
from rknnlite.settings import Settings

_DTYPES = ("int8", "uint8", "int16", "float16", "float32")
_calls: Counter[str] = Counter()
_counting = threading.Lock()


class RKNNLite:
    """One context of the runtime."""

    NPU_CORE_AUTO = MASKS["AUTO"]
    NPU_CORE_0 = MASKS["0"]
    NPU_CORE_1 = MASKS["1"]
    NPU_CORE_2 = MASKS["2"]
    NPU_CORE_0_1 = MASKS["0_1"]
    NPU_CORE_0_1_2 = MASKS["0_1_2"]
    NPU_CORE_ALL = MASKS["ALL"]

    def __init__(self, verbose: bool = False, verbose_file: str | None = None) -> None:
        del verbose, verbose_file
        error(f"W rknn-toolkit-lite2 version: {__version__} ({STANDIN})")
        self._path: Path | None = None
        self._settings: Settings | None = None
        self._computer: Computer | None = None
        self._facts: RknnFacts | None = None
        self._mask = self.NPU_CORE_AUTO
        self._alone = threading.Lock()

    def load_rknn(self, path: str) -> int:
        """0, or -1 where the file cannot be read; what is in it only `init_runtime` looks at."""
        if not Path(path).exists():
            error(f"E Invalid RKNN model path: {path or None}")
            return -1
        self._settings = Settings.read(Path(path))
        if _fails("load_rknn", self._settings):
            return -1
        try:
            Path(path).read_bytes()
        except OSError:
            error(f"E Catch exception when loading RKNN model [{path}]!\nE {traceback.format_exc()}")
            return -1
        self._path = Path(path)
        return 0

    def init_runtime(
        self,
        target: str | None = None,
        device_id: str | None = None,
        async_mode: bool = False,
        core_mask: int = NPU_CORE_AUTO,
    ) -> int:
        """0, or -1 where the board, its runtime or its driver does not take the model."""
        del device_id, async_mode
        if self._path is None or self._settings is None:
            error("E Model is not loaded yet, this interface should be called after load_rknn!")
            return -1
        self.release()
        try:
            if target is not None:
                raise Refused("no devices: this stand-in is the board itself")
            if _fails("init_runtime", self._settings):
                raise Refused("RKNN init failed. error code: RKNN_ERR_FAIL")
            self._facts = opened(self._settings, self._path)
            self._mask = mask_on(self._chip, core_mask)
        except Refused as reason:
            error(f"E Catch exception when init runtime!\nE Exception: {reason}")
            return -1
        if self._settings.keep:
            with (self._settings.folder / "core_masks.txt").open("a") as file:
                file.write(f"{self._mask}\n")
        onnx = _onnx(self._settings, self._path)
        self._computer = Computer(self._settings.folder, self._facts, onnx)
        error("W Query dynamic range failed. Ret code: RKNN_ERR_MODEL_INVALID. (If it is a static shape RKNN model,")
        return 0

    def inference(
        self,
        inputs: Sequence[Any],
        data_type: Any = None,
        data_format: Any = None,
        inputs_pass_through: Any = None,
        get_frame_id: bool = False,
    ) -> list[np.ndarray] | None:
        """The outputs float32 in the model's shapes, or None."""
        if self._computer is None or self._settings is None or self._facts is None:
            error("E Runtime environment is not inited, please call init_runtime to init it first!")
            return None
        if not self._alone.acquire(blocking=False):
            error("E RKNN: [00:00:00.000] failed to submit!, op id: 1, op name: Conv:0 (a context of two threads)")
            return None
        try:
            if inputs_pass_through is not None or get_frame_id:
                raise Refused("inputs_pass_through and get_frame_id are not what this stand-in does")
            given = _input(self._facts, inputs, data_type, data_format)
            if self._settings.keep:
                np.save(self._settings.folder / "seen.npy", given)
            if _fails("inference", self._settings):
                raise Refused("RKNN run failed. error code: RKNN_ERR_FAIL")
            with occupied(self._chip, self._mask, self._settings):
                return self._computer.run(given)
        except (Refused, Nothing) as reason:
            error(f"E Catch exception when running RKNN model.\nE Exception: {reason}")
            return None
        finally:
            self._alone.release()

    def get_sdk_version(self) -> str | None:
        """Versions of librknnrt.so and of the driver; None before `init_runtime`."""
        if self._computer is None or self._settings is None:
            error("E Runtime environment is not inited, please call init_runtime to init it first!")
            return None
        return f"API: {self._settings.runtime} ({STANDIN})\nDRV: {self._settings.driver}"

    def list_support_target_platform(self, rknn_model: str | None = None) -> dict[str, list[str]] | None:
        """The chips that run the model, and those written into it."""
        if rknn_model is not None and not Path(rknn_model).exists():
            error(f"E The model {rknn_model} does not exist.")
            return None
        if rknn_model is None:
            return {"support_target_platform": sorted(name.upper() for name in {*CORES, *TWINS, *NPUS})}
        filled = list(read_rknn(Path(rknn_model)).target)
        twins = {twin for twin, name in TWINS.items() if name in filled} | set(filled)
        return {"filled_target_platform": filled, "support_target_platform": sorted(name.upper() for name in twins)}

    def release(self) -> None:
        """The context is gone, the loaded model is not."""
        self._computer = self._facts = None

    @property
    def _chip(self) -> str:
        assert self._settings is not None
        assert self._facts is not None
        return self._settings.chip or self._facts.target[0]


def _input(facts: RknnFacts, inputs: Sequence[Any], data_type: Any, data_format: Any) -> np.ndarray:
    """The one input as [1, H, W, C], checked as `inference` says. Raises Refused."""
    if not isinstance(inputs, list | tuple) or len(inputs) != len(facts.inputs):
        raise Refused(f"the model has {len(facts.inputs)} inputs")
    given = inputs[0]
    dtype, layout = _first(data_type, "uint8"), _first(data_format, "nhwc")
    if dtype not in _DTYPES or layout not in ("nhwc", "nchw"):
        raise Refused(f"data_type {dtype!r} and data_format {layout!r} are not known")
    if not isinstance(given, np.ndarray) or given.dtype != dtype:
        raise Refused(f"the input is {getattr(given, 'dtype', type(given))}, and data_type says {dtype}")
    shape = facts.inputs[0].shape
    wanted = shape if layout == "nchw" else (shape[0], *shape[2:], shape[1])
    if given.shape != wanted:
        raise Refused(f"the input's shape {given.shape} is wrong, expect {layout} like {wanted}")
    if layout == "nchw":
        error("W The input[0] need NHWC data format, but NCHW set, the data format and data buffer will be changed")
        return np.ascontiguousarray(given.transpose(0, 2, 3, 1))
    return given


def _first(given: Any, default: str) -> str:
    return default if given is None else str(given[0] if isinstance(given, list | tuple) else given)


def _fails(call: str, settings: Settings) -> bool:
    """Whether this call is the one that the settings let fail; then what it prints is printed."""
    with _counting:
        _calls[call] += 1
        number = _calls[call]
    failure = settings.fail
    if failure.get("call") != call or number < failure.get("at", 1):
        return False
    error(failure["print"])
    return True


def _onnx(settings: Settings, model: Path) -> Path | None:
    """The ONNX model to compute with."""
    if settings.onnx is not None:
        return settings.folder / settings.onnx
    folders = (settings.folder, model.parent, model.parent.parent / "onnx_package")
    return next((folder / "best.onnx" for folder in folders if (folder / "best.onnx").is_file()), None)
