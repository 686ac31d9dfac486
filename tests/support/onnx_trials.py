"""Damaged and hostile ONNX files through the onnx phase's gates, in its environment: `onnx_trials.py SEED START COUNT`.

First what the orchestrator reads (`artefacts.read_onnx`), then the stage's whole check. A model or an InputError, and
no other file may be opened. One line of JSON in the end.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from mcwbuild.contract import artefacts
from mcwbuild.contract.errors import InputError
from stages.onnx import given
from tests.campaign.series import Made
from tests.support import toy_onnx
from tests.support.engines import varint
from tests.support.mutants import damaged_bytes
from tests.support.watched import Hang, limited, watched

SECONDS = 5.0  # of processor time for one file
SECRET = "the content of another file"
TINY = Path(__file__).parents[1] / "contract" / "models" / "tiny.onnx"
PLACES = ("secret", "../secret", "/etc/passwd", "link", "", "a\0b", "x" * 5000, "secret/../secret", "__class__")


def _external(rng: random.Random, model: onnx.ModelProto) -> None:
    weight = rng.choice(model.graph.initializer)
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", rng.choice(PLACES)),
        ("offset", rng.choice(("0", "-1", "9" * 30))),
        ("length", "8"),
    ):
        entry = weight.external_data.add()
        entry.key, entry.value = (key, value) if rng.random() < 0.9 else ("__class__", value)


def _shape(rng: random.Random, model: onnx.ModelProto) -> None:
    weight = rng.choice([one for one in model.graph.initializer if one.dims])
    weight.dims[rng.randrange(len(weight.dims))] = rng.choice((0, -1, 2**31, 2**62, 7))


def _input(rng: random.Random, model: onnx.ModelProto) -> None:
    sizes = model.graph.input[0].type.tensor_type.shape.dim
    sizes[rng.randrange(len(sizes))].dim_value = rng.choice((0, -1, 2**31, 2**62, 3))


def _operator(rng: random.Random, model: onnx.ModelProto) -> None:
    node = rng.choice(model.graph.node)
    setattr(node, rng.choice(("op_type", "domain")), rng.choice(("Evil", "ai.onnx.ml", "com.microsoft", "", "\x1b[2J")))


def _nested(rng: random.Random, model: onnx.ModelProto) -> None:
    graph = helper.make_graph([], "inner", [], [])
    for _ in range(rng.choice((1, 20, 90))):
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "outer", [], [])
        if graph.ByteSize() > 1 << 14:
            break
    model.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph))


def _loop(rng: random.Random, model: onnx.ModelProto) -> None:
    node = rng.choice([one for one in model.graph.node if one.input])
    node.input[0] = rng.choice([name for one in model.graph.node for name in one.output] or [""])


CHANGES = (_external, _shape, _input, _operator, _nested, _loop)


def _deep(rng: random.Random) -> bytes:
    """Messages in messages, deeper than any parser goes down, with lengths that are right."""
    body = b""
    for _ in range(rng.choice((50, 120, 3000))):
        body = b"\x3a" + varint(len(body)) + body
    return body


def mutant(rng: random.Random, models: Sequence[bytes]) -> bytes:
    """One file."""
    data = rng.choice(models)
    kind = rng.random()
    if kind < 0.6:
        return damaged_bytes(rng, data)
    if kind < 0.62:
        return data + _deep(rng)
    if kind < 0.65:
        return data[: rng.randrange(len(data))]
    model = onnx.load_from_string(data)
    for change in rng.sample(CHANGES, rng.choice((1, 1, 2))):
        change(rng, model)
    return bytes(model.SerializeToString())


def outcome(path: Path) -> str:
    """What became of the file. Raises whatever is no InputError."""
    try:
        artefacts.read_onnx(path)
        given.validated(path)
        return "taken"
    except InputError as error:
        return "InputError" if error.what and error.problems else "without a sentence"


def run(numbers: Sequence[int], seed: str) -> Made:
    """The trials of these numbers."""
    made = Made()
    models = [TINY.read_bytes(), toy_onnx.network().SerializeToString()]
    with tempfile.TemporaryDirectory(prefix="mcw-onnx-") as text, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(text, "in")
        folder.mkdir()
        for place in (folder / "secret", folder.parent / "secret"):
            place.write_text(SECRET)
        (folder / "link").symlink_to("/etc/passwd")
        path = folder / "best.onnx"
        for model in models:  # warm: what is loaded at first use is no finding
            path.write_bytes(model)
            outcome(path)
        for number in numbers:
            path.write_bytes(mutant(random.Random(f"{seed}-{number}"), models))
            try:
                with watched() as events, limited(SECONDS):
                    made.outcomes[outcome(path)] += 1
                wrong = [one for one in events if one.startswith("open") and not _own(one, path)]
            except (Exception, Hang) as error:
                made.outcomes["violation"] += 1
                wrong = [f"{type(error).__name__}: {error!s:.300}"]
            made.violations += [f"seed {seed}, number {number}: {one}" for one in wrong]
    return made


def _own(event: str, path: Path) -> bool:
    return str(path) in event or event.removeprefix("open (").rstrip(",)").isdigit()


def main() -> None:
    """So many trials, and what came of them."""
    seed, start, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    found = run(range(start, start + count), seed)
    print(json.dumps({"outcomes": found.outcomes, "violations": found.violations}))


if __name__ == "__main__":
    main()
