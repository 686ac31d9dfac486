"""Damaged documents read as the programs read them: accepted, or refused with the right class of error."""

from __future__ import annotations

import random
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mcwbuild.contract import dataset, documents, inherit, validate
from mcwbuild.contract import yaml as strict_yaml
from mcwbuild.contract.errors import ContractBroken, ExitCode, InputError
from mcwbuild.contract.terminal import visible
from tests.campaign.series import Made
from tests.support.class_names import harmless
from tests.support.mutants import damaged_bytes, damaged_document, damaged_tokens
from tests.support.watched import Hang, limited, watched

EXAMPLES = Path(__file__).parents[1] / "contract" / "examples" / "valid"
SECONDS = 5.0  # of processor time for one document; the slowest takes a tenth of a second
OTHERS = {
    "data.yaml": b"path: .\ntrain: images\nval: images\nnames:\n  0: first\n  1: 'second one'\nnc: 2\n",
    "list.txt": b"images/a.jpg\n./images/a.jpg\n\nimages/a.jpg\n",
}
_OPENED = re.compile(r"open \(([0-9]+|'[^']*mcw-trials[^']*'),?\)")
_LOOKED = re.compile(r"(open|os.scandir|os.listdir) .*")  # a data.yaml may name any folder and list of the machine


@dataclass(frozen=True)
class Kind:
    """A document that is valid, as text and as value, and the name of its schema (none: a file of another tool)."""

    name: str
    schema: str | None
    data: bytes
    value: Any


@dataclass
class Trials:
    """How often each outcome was met; every text in `wrong` is a finding and names its seed."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@cache
def kinds() -> tuple[Kind, ...]:
    """Every valid example, and the files of other tools."""
    paths = sorted(path for path in EXAMPLES.glob("*/*") if path.suffix in (".yaml", ".json"))
    ours = [Kind(f"d{p.suffix}", p.parent.name, p.read_bytes(), documents.read(p).value) for p in paths]
    return (*ours, *(Kind(name, None, data, None) for name, data in OTHERS.items()))


def read(path: Path, kind: Kind) -> str:
    """What becomes of the file. Raises whatever is neither acceptance nor one of the errors that belong here."""
    try:
        if kind.schema is None:
            dataset.read(path) if path.suffix == ".yaml" else dataset.read_list(path)
            return "accepted"
        (document,) = validate.require_all([(path, kind.schema)])
        if path.suffix == ".yaml":
            assert strict_yaml.load(strict_yaml.dump(document.value), "again").value == document.value
        if kind.schema.endswith("_source"):
            inherit.own_hash(document)
            inherit.compare(document, kind.value, "onnx", "pt", "best.onnx")
        return "accepted"
    except (InputError, ContractBroken) as error:
        told = error
    assert told.code == (ExitCode.INPUT if isinstance(told, InputError) else ExitCode.GATE)
    assert told.problems
    assert all(harmless(visible(text)) for text in (str(told), *map(str, told.problems)))
    return type(told).__name__


def trials(seed: int, numbers: range) -> Trials:
    """One damaged document for each number."""
    made = Trials()
    with tempfile.TemporaryDirectory(prefix="mcw-trials-") as text, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(text)
        (folder / "images").mkdir()
        (folder / "images" / "a.jpg").touch()
        for kind in kinds():  # warm: what is loaded at first use is no finding
            (folder / kind.name).write_bytes(kind.data)
            read(folder / kind.name, kind)
        for number in numbers:
            _trial(folder, random.Random(f"{seed}-{number}"), f"seed {seed}, number {number}", made)
    return made


def _trial(folder: Path, rng: random.Random, place: str, made: Trials) -> None:
    kind = rng.choice(kinds())
    if kind.value is None:
        data = rng.choice((damaged_bytes, damaged_tokens))(rng, kind.data)
    else:
        data = damaged_document(rng, kind.data, kind.value, kind.name.endswith(".json"))
    path = folder / kind.name
    path.write_bytes(data)
    try:
        with watched() as events, limited(SECONDS):
            outcome = read(path, kind)
    except (Exception, Hang) as error:
        outcome = "wrong"
        made.wrong.append(f"{place}, {kind.schema or kind.name}: {type(error).__name__}: {error!s:.300}")
    made.outcomes[outcome] += 1
    harmless_events = _OPENED if kind.schema else _LOOKED
    made.wrong += [f"{place}, {kind.name}: {event}" for event in events if not harmless_events.fullmatch(event)]


def yaml_trials(numbers: Sequence[int], seed: str) -> Made:
    """YAML texts of ours damaged in bytes and tokens, read without files: accepted by loader and schema, or refused."""
    made = Made()
    ours = [kind for kind in kinds() if kind.schema is not None and kind.name.endswith(".yaml")]
    for number in numbers:
        rng = random.Random(f"{seed}-{number}")
        kind = rng.choice(ours)
        data = (damaged_bytes, damaged_tokens)[number % 2](rng, kind.data)
        try:
            with limited(SECONDS):
                made.outcomes[_yaml(data, str(kind.schema))] += 1
        except (Exception, Hang) as error:
            made.outcomes["violation"] += 1
            made.violations.append(f"seed {seed}, number {number}: {type(error).__name__}: {error!s:.300}")
    return made


def _yaml(data: bytes, schema: str) -> str:
    try:
        document = strict_yaml.load(data.decode("utf-8", "surrogateescape"), "damaged.yaml")
        validate.require(document, schema)
        return "accepted"
    except InputError as error:
        if not error.problems:
            raise AssertionError("refused without a reason") from error
        return "refused"
