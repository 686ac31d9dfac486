"""Critical values changed at each boundary: document, package to package, document to the models' own bytes.

Whoever changes a value may write a new `contract_sha256` too; only at the first boundary it is the old one. A change
has to be refused; what says the same in other words has to pass.
"""

from __future__ import annotations

import copy
import json
import random
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from mcwbuild.contract import artefacts, documents, emit, inherit, readback, validate
from mcwbuild.contract import yaml as strict_yaml
from mcwbuild.contract.errors import ContractBroken, InputError
from mcwbuild.contract.marks import Document, Path
from mcwbuild.contract.phases import ONNX, PT, RKNN
from mcwbuild.contract.schemas import critical_paths
from tests.campaign.series import Made
from tests.support.engines import write_package

HASH = "contract_sha256"
NUMBERS = (0, 1, -1, 1e-9, 1e300, 3.5, 114, 127.5, 254.99999)
WORDS = (
    "RGB",
    "BGR",
    "Grayscale",
    "NHWC",
    "NCHW",
    "uint8",
    "float16",
    "direct",
    "letterbox",
    "center",
    "top_left",
    "x",
)
TEXTS = (".nan", ".inf", "~", "[]", "{}", "*a", "&a 1", "!!int 3", "0x10", "1_0", "yes", "2026-01-01", '"\\u0085"')


@dataclass(frozen=True)
class Boundary:
    """Where a change may come in: the document that is changed, and what is asked of it then."""

    name: str
    source: dict[str, Any]
    schema: str
    hashed: bool  # whether whoever changed it wrote a new hash
    ask: Callable[[Document], None]


def boundaries(base: File) -> list[Boundary]:
    """The five of them, over packages that agree."""
    for phase in (PT, ONNX, RKNN):
        write_package(base / phase.package, phase)
    pt, onnx, rknn = (documents.read_yaml(base / phase.package / phase.source) for phase in (PT, ONNX, RKNN))
    block = json.loads(artefacts.read_onnx(base / ONNX.package / "best.onnx").metadata["mcwbuild.contract"])
    facts = artefacts.read_rknn(base / RKNN.package / "best_int8.rknn")

    def own(document: Document) -> None:
        if problem := inherit.own_hash(document):
            raise ContractBroken("edited", problems=[problem])

    def bytes_of_rknn(document: Document) -> None:
        if problems := readback.rknn_problems(document, facts):
            raise ContractBroken("read back", problems=problems)

    return [
        Boundary("document", onnx.value, ONNX.source_schema, False, own),
        Boundary("pt to onnx", onnx.value, ONNX.source_schema, True, lambda d: inherit.compare(d, pt, "onnx", "pt")),
        Boundary(
            "document to best.onnx",
            onnx.value,
            ONNX.source_schema,
            True,
            lambda d: inherit.compare(d, block, "onnx", "onnx", "best.onnx"),
        ),
        Boundary(
            "onnx to rknn", rknn.value, RKNN.source_schema, True, lambda d: inherit.compare(d, onnx, "rknn", "onnx")
        ),
        Boundary("document to .rknn", rknn.value, RKNN.source_schema, True, bytes_of_rknn),
    ]


def _holder(value: Any, path: Path) -> Any:
    for part in path[:-1]:
        if not isinstance(value.get(part), dict):
            value[part] = {}
        value = value[part]
    return value


def _another(rng: random.Random, value: Any) -> Any:
    """Something else in the place of a value: of its kind, of another kind, or nearly the same."""
    if rng.random() < 0.1:
        return rng.choice((None, True, [], {}, "", "x", 0, [value], {"a": value}, str(value)))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice((*NUMBERS, value + 1, value * 1.0000001, -value))
    if isinstance(value, str):
        changed = (value.lower(), value.upper(), f"{value} ", f"{value}\u0301", unicodedata.normalize("NFD", value))
        return rng.choice((*WORDS, *changed, f"{value}\u0085", f"{value}\u200b", value[:-1]))
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        kind = rng.randrange(4)
        if kind == 0:
            return [*value[:at], _another(rng, value[at]), *value[at + 1 :]]
        if kind == 1:
            return [*value[:at], *value[at + 1 :]]
        if kind == 2:
            return [*value, value[at]]
        return rng.sample(value, len(value))
    return rng.choice((*WORDS, *NUMBERS, [1, 2]))


def _changed(rng: random.Random, boundary: Boundary, path: Path) -> str:
    """The changed document's text, which may say what no value can."""
    value = copy.deepcopy(boundary.source)
    holder, kind = _holder(value, path), rng.random()
    if kind < 0.15:
        holder.pop(path[-1], None)
    else:
        holder[path[-1]] = _another(rng, holder.get(path[-1]))
    if boundary.hashed:
        try:
            value[HASH] = inherit.contract_sha256(value)
        except (ValueError, TypeError):  # not a number: no hash can be written
            value[HASH] = "0" * 64
    if kind > 0.9:
        holder[path[-1]] = "mcw-trial-here"
        return emit.dump(value).replace("mcw-trial-here", rng.choice(TEXTS), 1)
    return emit.dump(value)


def _reworded(rng: random.Random, value: Any) -> Any:
    """The same said in other words."""
    if isinstance(value, dict):
        items = [(key, _reworded(rng, part)) for key, part in value.items()]
        return dict(rng.sample(items, len(items)))
    if isinstance(value, list):
        return [_reworded(rng, part) for part in value]
    return value


def _read(text: str, boundary: Boundary) -> Document:
    document = strict_yaml.load(text, "changed.yaml")
    validate.require(document, boundary.schema)
    return document


def _meaning(value: Any) -> str:
    return inherit.canonical(inherit.critical(inherit.complete(value)))


def run(numbers: Sequence[int], seed: str) -> Made:
    """The trials of these numbers: each fifth says the same in other words."""
    made = Made()
    paths = list(critical_paths())
    with tempfile.TemporaryDirectory(prefix="mcw-tamper-") as text:
        places = boundaries(File(text))
        for number in numbers:
            rng = random.Random(f"{seed}-{number}")
            boundary, path = places[number % len(places)], paths[number // len(places) % len(paths)]
            place = f"seed {seed}, number {number}, {boundary.name}, {'.'.join(map(str, path))}"
            try:
                made.outcomes[_trial(rng, boundary, path, sound=rng.random() < 0.2)] += 1
            except Exception as error:
                made.outcomes["violation"] += 1
                made.violations.append(f"{place}: {type(error).__name__}: {error!s:.300}")
    return made


def _trial(rng: random.Random, boundary: Boundary, path: Path, *, sound: bool) -> str:
    if sound:
        boundary.ask(_read(emit.dump(_reworded(rng, boundary.source)), boundary))
        return "the same, passed"
    text = _changed(rng, boundary, path)
    try:
        document = _read(text, boundary)
    except InputError:
        return "changed, refused by its form"
    refused: ContractBroken | None = None
    try:
        boundary.ask(document)
    except ContractBroken as error:
        refused = error
    if _meaning(document.value) == _meaning(boundary.source):
        assert refused is None, f"refused, and nothing differs: {refused}"
        return "the same, passed"
    assert refused is not None, f"not noticed: {inherit.value_at(document.value, path)!r}"
    named = [problem.path or "" for problem in refused.problems]
    whole = boundary.name in ("document", "document to .rknn")  # there a hash is held against a hash
    assert whole or any(str(path[-1]) in name for name in named), f"another field is named: {named}"
    return "changed, refused"
