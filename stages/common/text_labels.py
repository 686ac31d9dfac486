"""What is written in images, as classes of the contract's characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from mcwbuild.contract.errors import Problem
from mcwbuild.contract.marks import shown
from mcwbuild.contract.transcripts import Transcript
from stages.common.ground_truth import Labels, check_image, data_error


def read_texts(lines: Sequence[Transcript], names: Sequence[str]) -> tuple[Labels, ...]:
    """The label of every line's image.

    Raises InputError with one problem for each image that is not whole, and for each text with characters that are
    none of `names`, naming file and line.
    """
    problems: list[Problem] = []
    for made in lines:
        problems += check_image(made.image)
        if unknown := strange(made.text, names):
            told = ", ".join(shown(each) for each in unknown)
            composed = unicodedata.is_normalized("NFC", made.text)
            hint = None if composed else "save the list in Unicode's normal form C, as the names are"
            problems.append(made.problem(f"{shown(made.text)} holds {told}, which the model has no class for", hint))
    if problems:
        raise data_error(problems)
    return text_labels([made.text for made in lines], names)


def text_labels(texts: Sequence[str], names: Sequence[str]) -> tuple[Labels, ...]:
    """The labels of texts of which each is made of `names`."""
    spelled = [np.array(spell(text, names)[0], np.int64) for text in texts]
    return tuple(Labels(np.zeros((len(classes), 4)), classes) for classes in spelled)


def strange(text: str, names: Sequence[str]) -> list[str]:
    """The characters of the text that no name has, each once."""
    return list(dict.fromkeys(spell(text, names)[1]))


def spell(text: str, names: Sequence[str]) -> tuple[list[int], list[str]]:
    """The classes of the text's characters, and the characters that no name has.

    Of names that several characters make, such as a letter with its mark, the longest that fits is taken.
    """
    numbers = {name: number for number, name in enumerate(names)}
    longest = max(map(len, names))
    classes, unknown, place = [], [], 0
    while place < len(text):
        ends = range(min(len(text), place + longest), place, -1)
        end = next((end for end in ends if text[place:end] in numbers), None)
        if end is None:
            unknown.append(text[place])
        else:
            classes.append(numbers[text[place:end]])
        place = end or place + 1
    return classes, unknown
