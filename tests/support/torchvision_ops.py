"""torchvision, which Ultralytics' transforms need, where its compiled operators do not load; for the pt environment."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "shapes"


@contextmanager
def with_torchvision() -> Iterator[None]:
    """Import torchvision as the example's training does; its stand-ins stay for the block and are then let go."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        held = importlib.import_module("train").stand_in_for_torchvision_ops()
        yield
        del held
    finally:
        sys.path.remove(str(EXAMPLE))
