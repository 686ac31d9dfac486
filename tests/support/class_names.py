"""Class names carried through everything that holds them, against what Unicode's own database says of them."""

from __future__ import annotations

import ast
import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcwbuild.contract import inherit
from mcwbuild.contract import yaml as strict_yaml
from mcwbuild.contract.jsontext import examine_json
from mcwbuild.contract.marks import Document
from mcwbuild.contract.terminal import visible
from stages.rknn import script

POSITIONS = ("alone", "middle", "end")
SCALARS = 0x110000 - 0x800  # Unicode scalar values: every code point but the surrogates
FAMILY = "yolo_dfl"
_EXPLICIT = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # bidi classes that reorder what follows
_MARKS = {"LEFT-TO-RIGHT MARK", "RIGHT-TO-LEFT MARK", "ARABIC LETTER MARK"}
_CODE, _, _TAIL = script.script(FAMILY, {}).partition('DATA = "{}"')
CODE_SHA256 = hashlib.sha256(_CODE.encode("ascii")).hexdigest()


@dataclass
class Counts:
    """How many names were carried unchanged and how many refused; every text in `wrong` is a finding."""

    carried: int
    refused: int
    wrong: list[str]


def scalar(number: int) -> str:
    """The scalar value with this number, 0 to SCALARS - 1."""
    return chr(number if number < 0xD800 else number + 0x800)


def name(character: str, position: str) -> str:
    """The character as, in or at the end of a name."""
    return {"alone": character, "middle": f"a{character}b", "end": f"name {character}"}[position]


def acceptable(text: str) -> bool:
    """Whether the policy takes this text, told by Unicode's names, categories and bidi classes."""
    return unicodedata.normalize("NFC", text) == text and not any(map(_refused, text))


def _refused(character: str) -> bool:
    control = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") and character not in "\t\n\r"
    reorders = unicodedata.bidirectional(character) in _EXPLICIT or unicodedata.name(character, "") in _MARKS
    number = ord(character)
    return control or reorders or character == "\ufeff" or number % 0x10000 >= 0xFFFE or 0xFDD0 <= number < 0xFDF0


def source(names: Sequence[str]) -> dict[str, Any]:
    """A training source of these classes."""
    return inherit.complete(
        {
            "model": {"name": "m", "type": "YOLO11", "task": "object_detection"},
            "classes": {"names": list(names)},
            "input": {"size": [640, 640], "format": "RGB"},
            "preprocessing": {
                "resize": {"method": "letterbox"},
                "normalize": {"enabled": True, "mean": [0.0] * 3, "std": [255.0] * 3},
            },
        }
    )


def check(names: Sequence[str]) -> Counts:
    """Carry the names, all different, through YAML, JSON, the contract's hash, the script and the terminal."""
    expected = {index for index, text in enumerate(names) if not acceptable(text)}
    taken = [text for index, text in enumerate(names) if index not in expected]
    wrong = [f"{how}: {names[index]!a}" for how, index in _refusals(names, expected)]
    if taken:
        wrong += _carried(taken)
    wrong += [f"terminal: {text!a}" for text in names if not harmless(visible(text))]
    return Counts(len(taken), len(expected), wrong)


def _refusals(names: Sequence[str], expected: set[int]) -> list[tuple[str, int]]:
    """Names that a reader refuses and should not, or the other way round; each has its line in the file."""
    whole = source(names)
    found = []
    texts = (
        (strict_yaml.examine, strict_yaml.dump(whole)),
        (examine_json, json.dumps(whole, indent=1)),
    )
    for examine, text in texts:
        document, problems = examine(text, "f")
        assert isinstance(document, Document)
        told = {(problem.line, problem.column) for problem in problems}
        refused = {index for index in range(len(names)) if document.place(("classes", "names", index)) in told}
        found += [(examine.__module__, index) for index in refused ^ expected]
        if document.value != whole or not text.isascii():
            found.append((f"{examine.__module__} changed", 0))
    return found


def _carried(names: Sequence[str]) -> list[str]:
    """What became of accepted names on their way; empty where nothing did."""
    whole = source(names)
    wrong = []
    again = strict_yaml.load(strict_yaml.dump(whole), "f").value
    block = json.loads(inherit.canonical(inherit.critical(again)))  # what best.onnx carries
    if block["classes"]["names"] != list(names):
        wrong.append("the contract's JSON changed")
    if inherit.contract_sha256(again) != inherit.contract_sha256(whole) or inherit.differences(whole, again):
        wrong.append("the contract's hash changed")
    program = script.script(FAMILY, {"contract": block})
    head, _, rest = program.partition("\n\nDATA = ")
    literal, _, tail = rest.partition("  # noqa: E501\n")
    if hashlib.sha256((head + "\n\n").encode("ascii")).hexdigest() != CODE_SHA256 or not _TAIL.endswith(tail):
        wrong.append("the script's code changed")
    if json.loads(ast.literal_eval(literal))["contract"]["classes"]["names"] != list(names):
        wrong.append("the script's data changed")
    return wrong


def harmless(shown: str) -> bool:
    """One line of characters that show themselves, and no command to a CI runner."""
    unsafe = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} & {unicodedata.category(character) for character in shown}
    return not unsafe and not shown.lstrip().startswith("::") and "##[" not in shown
