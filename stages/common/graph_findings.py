"""What the kinds of a graph's operators say: selection inside of the network."""

from __future__ import annotations

from collections.abc import Sequence

from stages.common.findings import Finding

# TopK is computed by the CPU of the board; the others make every size after them depend on the image.
SELECTING = ("TopK", "NonMaxSuppression", "NonZero", "EfficientNMS_TRT")
_DYNAMIC = frozenset(SELECTING) - {"TopK"}


def selection(operators: Sequence[tuple[str, str]]) -> Finding | None:
    """TopK or non-maximum suppression among the operators (kind, layer)."""
    found = [(kind, layer) for kind, layer in operators if kind in SELECTING]
    if not found:
        return None
    kinds = sorted({kind for kind, _ in found})
    dynamic = _DYNAMIC & set(kinds)
    effect = "the toolkit refuses sizes that depend on the image" if dynamic else "the NPU leaves it to the CPU"
    return Finding(
        "selection-in-graph",
        f"The graph selects its results itself: {', '.join(kinds)} (first {found[0][1]}).",
        f"The file was exported with its post-processing, and {effect}; scores and indices share an INT8 scale.",
        "Export without NMS (nms=False), or cut the graph in front of it; post-processing is done in numpy.",
        {"operators": kinds, "layers": [layer for _, layer in found]},
    )
