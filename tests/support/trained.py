"""Where the small trained networks lie: those of the examples, and those of the tests alone."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = {"classify": "classification", "segment": "segmentation", "pose": "pose", "obb": "oriented"}


def checkpoint(task: str) -> Path:
    """The checkpoint of an Ultralytics task, or of a network of the tests by its name."""
    if task in EXAMPLES:
        return ROOT / "examples" / EXAMPLES[task] / "best.pt"
    return ROOT / "tests" / "models" / f"{task}.pt"
