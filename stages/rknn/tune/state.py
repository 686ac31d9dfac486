"""The finished tries of a search, kept outside of the scratch folder: a run that was killed does not repeat them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from mcwbuild.contract import disk
from stages.rknn.layer_errors import LayerError
from stages.rknn.request import Tries
from stages.rknn.tune.trial import Trial


def load(place: Tries, key: str) -> tuple[list[Trial], list[LayerError]]:
    """The tries and the layers' errors that an earlier run with the same key kept; none where it is another's.

    What cannot be read counts as nothing: to try again costs time alone.
    """
    if place.earlier is None:
        return [], []
    try:
        found = json.loads(place.earlier.read_text("ascii"))
        if found["key"] != key:
            return [], []
        return [Trial.of(one) for one in found["tries"]], [LayerError.of(one) for one in found["layers"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return [], []


def save(place: Tries, key: str, tries: Sequence[Trial], layers: Sequence[LayerError]) -> None:
    """Write them, whole or not at all; a disk that does not take them costs a later run some time, no more."""
    kept = {"key": key, "tries": [one.as_dict() for one in tries], "layers": [asdict(one) for one in layers]}
    with suppress(OSError):
        place.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        disk.write_atomic(place.path, json.dumps(kept).encode("ascii"))


def forget(place: Tries) -> None:
    """The package is there: they are of no use any more."""
    if place.own:
        with suppress(OSError):
            disk.remove_tree(place.path.parent)
