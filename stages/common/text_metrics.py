"""Accuracy of text recognition: characters and whole texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.common.ground_truth import Labels
from stages.common.per_image import Shares, Verdict, means
from stages.common.texts import Text

_DIGITS = 6


def judge_texts(
    found: Sequence[Text], truth: Sequence[NDArray[np.int64]], names: Sequence[str], confidence: float
) -> Verdict:
    """The verdict on each image's text by the one that stands in it.

    character_accuracy: 1 less the edits that lead from the found texts to the right ones, over all the right ones'
    characters, and no less than 0; word_accuracy: the share of texts without any edit. Case, spaces and signs count.
    """
    del names, confidence
    characters = sum(map(len, truth))
    if not characters:
        return Verdict({"status": "unmeasured", "reason": "There are no labelled images."})
    edits = [edit_distance(one.classes, wanted) for one, wanted in zip(found, truth, strict=True)]
    metrics = {
        "character_accuracy": round(max(1 - sum(edits) / characters, 0.0), _DIGITS),
        "word_accuracy": round(edits.count(0) / len(edits), _DIGITS),
        "characters": characters,
        "edits": sum(edits),
    }
    lengths = np.array([len(wanted) for wanted in truth], np.float64)
    words = means(word_accuracy=[float(not each) for each in edits])
    return Verdict(metrics, Shares({"character_accuracy": (lengths - edits, lengths), **words.parts}))


def edit_distance(found: NDArray[np.int64], wanted: NDArray[np.int64]) -> int:
    """The fewest insertions, deletions and replacements of one class that make `wanted` of `found` (Levenshtein)."""
    places = np.arange(len(wanted) + 1)
    row = places
    for number, each in enumerate(found, 1):
        kept_or_replaced = row[:-1] + (wanted != each)
        best = np.concatenate([[number], np.minimum(kept_or_replaced, row[1:] + 1)])
        row = np.minimum.accumulate(best - places) + places  # and what one more insertion after another makes of it
    return int(row[-1])


def text_of(labels: Labels, shape: tuple[int, int]) -> NDArray[np.int64]:
    """The characters' classes that stand in the image."""
    del shape
    return labels.classes


def found_text(found: Text) -> NDArray[np.int64]:
    """What was read, as ground truth for another's results."""
    return found.classes


def sound_text(found: Text) -> Text:
    """The text, or none where a probability is not a finite number."""
    if np.isfinite(found.scores).all():
        return found
    return Text(np.zeros(0, np.int64), np.zeros(0, np.float32))


def uniform(head: Mapping[str, Any]) -> float:
    """A little more than every class, the blank too, has where all scores are the same."""
    return float(min(1.01 / (head["num_classes"] + 1), 1.0))
