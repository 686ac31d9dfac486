"""What a fork server of the phase has loaded, and what a stage does with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STAGE = """
import sys, threading
from stages.rknn.children import Children
from stages.rknn.ground import Ground
import stages.rknn.loaded
for module in ("rknn.api", "torch", "onnxruntime", "cv2", "stages.rknn.simulate"):
    assert module in sys.modules, module
assert threading.active_count() == 1
every = Children(1, ("fp16",), Ground())
(loader,) = every._loaders.values()
own, theirs = (open(f"/proc/{process}/cmdline").read() for process in ("self", loader.process.pid))
assert own == theirs, theirs  # a fork of this process
every.end()
"""


def test_the_toolkit_is_loaded_before_a_stage_is_forked_and_its_loader_is_a_fork_too(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STAGE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
