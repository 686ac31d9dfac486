"""Reading of text: CTC decoding, edit distance and accuracy, against slow and clear ways of the same."""

from __future__ import annotations

import itertools
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcwbuild.contract.errors import ContractBroken, InputError
from stages.common.image_set import open_images
from stages.common.tasks import TASKS
from stages.common.text_labels import spell, strange
from stages.common.text_metrics import edit_distance, judge_texts
from stages.common.texts import Text
from stages.families.shapes import output_shapes
from stages.families.text.decode import decode_text
from stages.families.text.head import head_of, layout_of

NAMES = ["0", "1", "Ä", "中", "ß", " "]
RANDOM = np.random.default_rng(5)
LAYOUTS = {"T1C": (1, 0, 2), "1TC": (0, 1, 2), "1CT": (0, 2, 1), "CT": None, "TC": None, "1C1T": None}


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def laid(scores: np.ndarray, layout: str) -> np.ndarray:
    """[T, C] in the layout."""
    turned = scores.T if layout.index("C") < layout.index("T") else scores
    lengths = {"T": scores.shape[0], "C": scores.shape[1], "1": 1}
    return np.ascontiguousarray(turned.reshape([lengths[letter] for letter in layout]))


def head(layout: str = "T1C", blank: str = "first", activation: str = "softmax", steps: int = 12) -> dict[str, Any]:
    made = {"family": "ctc", "num_classes": len(NAMES), "layout": layout, "steps": steps}
    return {
        **made,
        "blank": blank,
        "activation": activation,
        "outputs": ["scores" if activation == "softmax" else "probabilities"],
    }


def slowly(scores: np.ndarray, blank: int) -> tuple[list[int], list[float]]:
    """Best path of [T, C], collapsed: each run of a class once, blanks left out."""
    probabilities = softmax(scores.astype(np.float64))
    path = [(int(row.argmax()), step) for step, row in enumerate(probabilities)]
    runs = [next(run) for _, run in itertools.groupby(path, key=lambda pair: pair[0])]
    kept = [(kind, step) for kind, step in runs if kind != blank]
    return [kind - (blank == 0) for kind, _ in kept], [float(probabilities[step, kind]) for kind, step in kept]


@pytest.mark.parametrize("blank", ["first", "last"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_decoding_is_the_collapsed_best_path_in_every_layout(layout: str, blank: str) -> None:
    for steps in (2, 12, 40):
        scores = RANDOM.normal(0, 3, (steps, len(NAMES) + 1)).astype(np.float32)
        scores[RANDOM.random(steps) < 0.4, 0 if blank == "first" else -1] += 6
        scores[steps // 2] = scores[steps // 2 - 1]  # a character that lasts
        wanted, probable = slowly(scores, 0 if blank == "first" else len(NAMES))
        given_as = {"softmax": (scores, np.log(softmax(scores))), "none": (softmax(scores),)}
        for activation, forms in given_as.items():
            for form in forms:
                made = head(layout, blank, activation, steps)
                assert list(laid(form, layout).shape) == output_shapes(made, [32, 128])[0]
                classes, found = decode_text([laid(form, layout)], made, 0.0)
                assert classes.tolist() == wanted
                assert found.dtype == np.float32
                assert np.allclose(found, probable, atol=1e-5)


def test_a_repeated_character_needs_a_blank_between() -> None:
    scores = np.full((6, len(NAMES) + 1), -5.0, np.float32)
    for step, kind in enumerate((3, 3, 0, 3, 5, 5)):
        scores[step, kind] = 5
    assert decode_text([scores[:, None]], head(steps=6), 0.0)[0].tolist() == [2, 2, 4]


def test_a_text_below_the_confidence_is_none_and_silence_finds_nothing() -> None:
    scores = np.zeros((12, 1, len(NAMES) + 1), np.float32)
    for blank in ("first", "last"):
        made = head(blank=blank)
        assert len(decode_text([scores], made, TASKS["ocr"].silent(made))[0]) == 0
    scores[3, 0, 2] = 3
    classes, found = decode_text([scores], head(), 0.0)
    assert classes.tolist() == [1]
    assert len(decode_text([scores], head(), float(found[0]) + 0.01)[0]) == 0
    assert Text(classes, found).confidence == pytest.approx(float(found[0]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", ["none", "softmax"])
def test_the_head_is_found_from_shape_and_values(layout: str, activation: str) -> None:
    scores = RANDOM.normal(0, 3, (12, len(NAMES) + 1)).astype(np.float32)
    classes = {"names": NAMES, "num_classes": len(NAMES), "blank": "last"}
    values = laid(softmax(scores) if activation == "none" else scores, layout)
    assert head_of([values, values], classes) == head(layout, "last", activation)


@pytest.mark.parametrize("shape", [(1, 12, 9), (7, 1, 7), (2, 12, 7), (12, 7, 3), (7,), ()])
def test_an_output_of_another_form_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="not that of a text recogniser"):
        layout_of(shape, len(NAMES))


def test_one_step_alone_is_told_too() -> None:
    assert layout_of((1, 1, 7), 6) == "T1C"
    assert layout_of((1, 7, 1), 6) == "TC1"


def slow_distance(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """Levenshtein's distance by its definition."""

    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        replaced = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, replaced)

    return distance(len(a), len(b))


@settings(max_examples=300)
@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_the_edit_distance_is_levenshtein_s(a: list[int], b: list[int]) -> None:
    assert edit_distance(np.array(a, np.int64), np.array(b, np.int64)) == slow_distance(tuple(a), tuple(b))


def text(classes: list[int]) -> Text:
    return Text(np.array(classes, np.int64), np.full(len(classes), 0.5, np.float32))


def test_accuracy_counts_edits_over_all_characters_and_whole_texts() -> None:
    truth = [np.array(classes) for classes in ([0, 1, 2], [3, 3], [4], [5, 0, 1, 2])]
    found = [text(classes) for classes in ([0, 1, 2], [3], [4, 4], [5, 1, 1, 2])]
    record = judge_texts(found, truth, NAMES, 0.25).metrics
    assert record == {"character_accuracy": 0.7, "word_accuracy": 0.25, "characters": 10, "edits": 3}
    assert judge_texts([text([1] * 9)], [np.array([0])], NAMES, 0.25).metrics["character_accuracy"] == 0.0
    assert judge_texts([], [], NAMES, 0.25).metrics["status"] == "unmeasured"
    broken = Text(np.array([0]), np.array([np.nan], np.float32))
    assert len(TASKS["ocr"].sound(broken).classes) == 0


def test_characters_of_every_script_are_spelled() -> None:
    names = ["a", "ä", "中", "ا", "ü", "क्ष", "क", "ष", "😀", "\u200d"]
    assert spell("äक्षक😀a\u200dا中", names) == ([1, 5, 6, 8, 0, 9, 3, 2], [])
    assert strange("aXa?X", names) == ["X", "?"]
    assert strange(unicodedata.normalize("NFD", "ä"), names) == ["\u0308"]


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Six images with texts, in PaddleOCR's way: names relative to the folder, the text behind a tab."""
    folder = tmp_path / "words"
    for split, texts in (("train", ("0", "1")), ("val", ("0Ä1", "中 ß", "1", "0"))):
        (folder / split).mkdir(parents=True)
        lines = []
        for number, written in enumerate(texts):
            cv2.imwrite(str(folder / split / f"{number}.png"), np.full((8, 20, 3), 40 * number, np.uint8))
            lines.append(f"{split}/{number}.png\t{written}")
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def contract(task: str = "ocr", names: list[str] = NAMES) -> dict[str, Any]:
    return {"model": {"task": task}, "classes": {"names": names, "num_classes": len(names)}}


def test_a_folder_of_texts_is_read_with_its_labels(words: Path) -> None:
    opened = open_images(words, None, contract())
    assert opened.texts == ("0Ä1", "中 ß", "1", "0")
    assert opened.labels is not None
    assert [label.classes.tolist() for label in opened.labels] == [[0, 2, 1], [3, 5, 4], [1], [0]]
    assert opened.record is not None
    assert opened.record["split"] == "val"
    before = opened.record["sha256"]
    (words / "val.txt").write_text((words / "val.txt").read_text("utf-8").replace("0Ä1", "0Ä0"), "utf-8")
    changed = open_images(words, None, contract()).record
    assert changed is not None
    assert changed["sha256"] != before


def test_characters_without_a_class_are_told_all_at_once(words: Path) -> None:
    (words / "val" / "3.png").write_bytes(b"")
    with pytest.raises(InputError, match="2 files or lines are wrong") as caught:
        open_images(words, None, contract(names=["0", "1", "Ä", "ß", " "]))
    told = sorted(str(problem) for problem in caught.value.problems)
    assert told[1].endswith("val/3.png: empty file")
    assert told[0] == f'{words}/val.txt:2: "\\u4e2d \\xdf" holds "\\u4e2d", which the model has no class for'


def test_a_text_in_another_normal_form_is_told_what_to_do(words: Path) -> None:
    listed = words / "val.txt"
    listed.write_text(listed.read_text("utf-8").replace("Ä", unicodedata.normalize("NFD", "Ä")), "utf-8")
    with pytest.raises(InputError) as caught:
        open_images(words, None, contract())
    (problem,) = caught.value.problems
    assert "\\u0308" in problem.message
    assert "normal form C" in str(problem.hint)


def test_a_dataset_of_another_kind_is_refused(words: Path) -> None:
    with pytest.raises(InputError, match="The model's task is classification, and this is lists of images with texts"):
        open_images(words, None, contract("classification"))
    (words / "data.yaml").write_text(f"train: train.txt\nval: val.txt\nnames: {NAMES[:3]}\n", "utf-8")
    with pytest.raises(ContractBroken, match="Class 3 is absent"):
        open_images(words / "data.yaml", None, contract())
