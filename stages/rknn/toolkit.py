"""RKNN-Toolkit2's object, wrapped: the only importer of `rknn.api`.

The toolkit prints from C, aborts, returns -1 or None and raises, and its simulator runs only what the same process
built; so a process (`stages.rknn.child`) makes one model and measures it.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.rknn.job import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LOADED = ("rknn.api", "pkg_resources")  # the toolkit's object asks the second for its version


class ToolkitFailure(Exception):
    """A call of the toolkit that did not do its work: which, and why in the toolkit's own words."""

    def __init__(self, step: str, cause: str) -> None:
        super().__init__(step, cause)
        self.step, self.cause = step, cause


class Toolkit:
    """RKNN-Toolkit2's object, each of its ways to fail turned into ToolkitFailure. Before `renew` there is none."""

    def __init__(self) -> None:
        """Loads the toolkit. Raises ToolkitFailure."""
        self.seconds: dict[str, float] = {}
        self._rknn: Any = None
        with self._timed("import"):
            for name in _LOADED:
                importlib.import_module(name)

    def renew(self) -> None:
        """Begin with a new object, which has a temporary folder that is removed with its process.

        The second step of a hybrid quantization needs another one than the first.
        """
        with self._timed("start"):
            from rknn.api import RKNN

            self._rknn = RKNN(verbose=True)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        except (ValueError, ImportError, RuntimeError, MemoryError) as error:
            raise ToolkitFailure(step, last_line(error)) from error
        finally:
            self.seconds[step] = round(time.monotonic() - start, 3)

    def call(self, step: str, *args: Any, **options: Any) -> None:
        """Call the toolkit's function `step`, which returns 0 where it worked."""
        with self._timed(step):
            result = getattr(self._rknn, step)(*args, **options)
        if result != 0:
            raise ToolkitFailure(step, f"{step} returned {result!r}")

    def infer(self, prepared: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The simulator's outputs for uint8 [1, H, W, C]; mean and std are applied inside."""
        with self._timed("inference"):
            outputs: list[NDArray[np.float32]] | None = self._rknn.inference([prepared], data_format=["nhwc"])
        if outputs is None:
            raise ToolkitFailure("inference", "inference returned None")
        return outputs


def last_line(error: BaseException) -> str:
    """The toolkit raises whole tracebacks as text; the cause is the last line of it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def build(toolkit: Toolkit, job: Job) -> None:
    """Configure, load, build and export."""
    chosen = job.quantization
    quantized: dict[str, Any] = {}
    if chosen is not None:
        quantized = {"quantized_algorithm": chosen.algorithm, "quantized_method": chosen.method}
        if chosen.auto_hybrid is not None:
            quantized["auto_hybrid_cos_thresh"] = chosen.auto_hybrid

    def configure() -> None:
        toolkit.call(
            "config",
            mean_values=[list(job.mean)],
            std_values=[list(job.std)],
            target_platform=job.platform,
            optimization_level=job.optimization_level,
            custom_string=job.custom_string,
            **quantized,
            **({"disable_rules": list(job.disabled_rules)} if job.disabled_rules else {}),
        )

    def load() -> None:
        configure()
        toolkit.call("load_onnx", job.model)

    if chosen is not None and chosen.layers:
        from stages.rknn import hybrid  # loads ONNX's graphs, which a plain build does without

        kept = hybrid.ranges_of(job)
        if not kept.is_dir():
            load()
            hybrid.find_ranges(toolkit, Path(job.model).stem, job.calibration, kept)
            toolkit.renew()
        configure()
        toolkit.call("hybrid_quantization_step2", *map(str, hybrid.name_layers(kept, chosen.layers)))
    else:
        load()
        automatic = {"auto_hybrid": True} if chosen is not None and chosen.auto_hybrid is not None else {}
        toolkit.call("build", do_quantization=chosen is not None, dataset=job.calibration, **automatic)
    toolkit.call("export_rknn", job.export)
