"""What hypothesis draws for the contract's tests: accepted text, plain data, source documents."""

from __future__ import annotations

import unicodedata
from typing import Any

from hypothesis import strategies as st

from mcwbuild.contract.marks import hostile


def accepted(text: str) -> bool:
    return unicodedata.is_normalized("NFC", text) and not any(hostile(character) for character in text)


CHARACTERS = st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\t\n\r")
TEXT = st.text(CHARACTERS, max_size=30).map(lambda text: unicodedata.normalize("NFC", text)).filter(accepted)
# What other readers take for something else, and what a careless writer breaks.
TRICKY = st.sampled_from(
    [
        *("", " ", "no", "Yes", "on", "~", "null", "010", "0o10", "1e3", "1e-05", "12:30", "2026-01-02", "1_000", ".5"),
        *("-", "- a", "a: b", "a #b", "# a", "'", '"', "\\", "\\ud83d\\ude00", "[", "{a: b}", "*a", "&a", "!a", "|"),
        *(">", "%a", "@a", "`a", "? a", ": a", "a\nb", "\na", "a\n", "a\r\nb", "\ta", "...", "---", "--- a", "=", "<<"),
        *("é", "😀", "x" * 300),
    ]
)
NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT | TRICKY
DATA: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | TRICKY, inner, max_size=4),
    max_leaves=12,
)

FORMATS = {"RGB": 3, "BGR": 3, "Grayscale": 1, "RGBA": 4}


@st.composite
def sources(draw: st.DrawFn) -> dict[str, Any]:
    """A whole training source with every critical value written."""
    form = draw(st.sampled_from(sorted(FORMATS)))
    channels = FORMATS[form]
    names = draw(st.lists(TEXT.filter(bool), min_size=1, max_size=6, unique=True))

    def per_channel(values: st.SearchStrategy[Any]) -> Any:
        return draw(st.lists(values, min_size=channels, max_size=channels))

    return {
        "model": {
            "name": "m",
            "type": "YOLO11",
            "task": "ocr",
            "anchors": [[draw(st.lists(st.integers(1, 500), min_size=2, max_size=2))]],
        },
        "classes": {
            "names": names,
            "num_classes": len(names),
            "keypoints": [draw(st.integers(1, 100)), draw(st.sampled_from((2, 3)))],
            "blank": draw(st.sampled_from(("first", "last"))),
        },
        "input": {
            "size": draw(st.lists(st.integers(1, 4096), min_size=2, max_size=2)),
            "channels": channels,
            "format": form,
            "dtype": draw(st.sampled_from(("float32", "uint8"))),
            "layout": draw(st.sampled_from(("NCHW", "NHWC"))),
        },
        "preprocessing": {
            "resize": {
                "method": "center_crop",
                "interpolation": draw(st.sampled_from(("linear", "antialias"))),
                "shorter_side": draw(st.integers(1, 4096)),
            },
            "padding": {
                "enabled": draw(st.booleans()),
                "color": per_channel(st.integers(0, 255)),
                "position": draw(st.sampled_from(("center", "top_left"))),
            },
            "normalize": {
                "enabled": True,
                "method": "mean_std",
                "mean": per_channel(st.floats(0, 255) | st.integers(0, 255)),
                "std": per_channel(st.floats(1, 255) | st.integers(1, 255)),
            },
        },
    }
