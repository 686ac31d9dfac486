"""The part of `npu_inference.py` that shows outputs as they are. Used as text, like `main.py`. Python 3.8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stages.common.generic import measured_output


def output_entries(found: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Name, shape, least, largest and mean value of each output, as JSON data."""
    return [{"name": name, **measured_output(output)} for name, output in zip(names, found)]  # noqa: B905 (3.8)


def output_text(entry: Mapping[str, Any]) -> str:
    """Shape and range."""
    return f"{entry['shape']} {entry['min']:.4g} to {entry['max']:.4g}, mean {entry['mean']:.4g}"
