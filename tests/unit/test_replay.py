"""A run repeated from its manifests, with an engine that only plays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mcwbuild import inspection, pipeline, published, replay
from mcwbuild.contract import documents, manifest
from mcwbuild.contract.errors import InputError, Refused
from mcwbuild.contract.events import Emit
from mcwbuild.contract.phases import MANIFEST, ONNX, PT, RKNN
from mcwbuild.engines import StageCall
from mcwbuild.published import Published
from tests.support.engines import FakeEngine, write_outcome, write_package
from tests.unit.test_pipeline import Told, steps

Edit = Callable[[Path], None]


def stage(edit: Edit = lambda package: None) -> Callable[[StageCall, Emit], int]:
    """A stage that writes its package, changed by `edit`."""

    def make(call: StageCall, emit: Emit) -> int:
        write_package(call.staging / "out", call.phase)
        edit(call.staging / "out")
        write_outcome(call, 0)
        return 0

    return make


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "best.pt").write_bytes(b"weights")
    folder = tmp_path / "out"
    pipeline.execute(steps(folder), FakeEngine(stage()), folder, Told())
    return folder


def packages(folder: Path) -> list[Published]:
    found, wrong = published.read_all(published.find(folder))
    assert not wrong
    return found


def plan_of(folder: Path, target: Path, trusted: bool = False, **given: Path) -> list[Any]:
    flags = {f"--{name}": path for name, path in given.items()}
    return replay.steps(packages(folder), flags, target, trusted=trusted)


def again(out: Path, folder: Path, edit: Edit = lambda package: None) -> list[replay.Replayed]:
    made = []
    engine = FakeEngine(stage(edit))
    for package, step in zip(packages(out), plan_of(out, folder), strict=True):
        pipeline.execute([step], engine, step.package.parent, Told())
        found, _ = published.read(step.package)
        assert found is not None
        made.append(replay.compare(package, found, engine.identity(step.phase)))
    return made


def rewrite(package: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the package's manifest as somebody would who knows of its sums."""
    record = json.loads((package / MANIFEST).read_text())
    change(record)
    documents.write_json(package / MANIFEST, record)
    sums, _ = manifest._read_sums(package / "SHA256SUMS")
    manifest._write_sums(package, {**sums, MANIFEST: manifest.describe(package / MANIFEST)["sha256"]})
    assert inspection.inspect(package, PT if "pt" in package.name else RKNN) == []


def test_the_same_inputs_options_and_stages_give_the_same_bytes(out: Path, tmp_path: Path) -> None:
    made = again(out, tmp_path / "again")
    assert [one.package.name for one in made] == [PT.package, ONNX.package, RKNN.package]
    assert {model.verdict for one in made for model in one.models} == {"same bytes"}
    assert not any(one.environment for one in made)


def test_the_steps_are_those_that_were_on_the_inputs_that_they_had(out: Path, tmp_path: Path) -> None:
    first = steps(out)
    repeated = plan_of(out, tmp_path / "again")
    for was, now in zip(first, repeated, strict=True):
        assert now.options == was.options
        assert dict(now.inputs) == dict(was.with_kept().inputs)
        assert tmp_path / "again" in now.package.parents


def test_another_accuracy_is_told_with_both_figures(out: Path, tmp_path: Path) -> None:
    def worse(package: Path) -> None:
        path = package / ONNX.performance
        if path.is_file():
            record = json.loads(path.read_text())
            record["accuracy_metrics"]["map50_95"] -= 0.25
            documents.write_json(path, record)
            manifest.add(package, path.name)

    (model,) = again(out, tmp_path / "again", worse)[1].models
    assert model.a is not None
    assert model.b == pytest.approx(model.a - 0.25)


@pytest.mark.parametrize(("change", "verdict"), [(0.0, "same metrics"), (0.01, "differs")])
def test_other_bytes_are_judged_by_the_metrics(
    out: Path, monkeypatch: pytest.MonkeyPatch, change: float, verdict: str
) -> None:
    monkeypatch.setattr(replay, "_identical", lambda *_: False)
    (package,) = [one for one in packages(out) if one.phase is ONNX]
    record = json.loads(json.dumps(package.performance))
    record["accuracy_metrics"]["map50_95"] += change
    (model,) = replay.compare(package, replace(package, performance=record), {}).models
    assert model.verdict == verdict


def test_an_input_that_changed_is_named(out: Path, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"other weights")
    shutil.rmtree(out / PT.package)
    with pytest.raises(InputError) as caught:
        replay.steps(packages(out), {}, tmp_path / "again", trusted=False)
    assert "the input --pt of the onnx phase is not found" in str(caught.value.problems[0])


def test_an_input_that_lies_elsewhere_is_given_or_found_in_a_package(out: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.pt"
    (tmp_path / "best.pt").rename(moved)
    assert dict(plan_of(out, tmp_path / "again", pt=moved)[0].inputs)["--pt"] == moved
    (tmp_path / "wrong.pt").write_bytes(b"wrong")
    with pytest.raises(InputError, match="cannot be repeated") as caught:
        plan_of(out, tmp_path / "again", pt=tmp_path / "wrong.pt")
    assert "this is not what the pt phase had" in str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("words", "kind"), [(["--out", "/etc"], "options"), (["--resume=x"], "options"), (["--trust-checkpoint"], "trust")]
)
def test_a_manifest_that_asks_for_more_is_refused(out: Path, tmp_path: Path, words: list[str], kind: str) -> None:
    rewrite(out / PT.package, lambda record: record["provenance"]["ingredients"]["options"].extend(words))
    with pytest.raises(Refused) as caught:
        plan_of(out, tmp_path / "again")
    assert caught.value.kind == kind
    if kind == "trust":
        assert plan_of(out, tmp_path / "again", trusted=True)


def test_a_package_of_a_stage_alone_says_nothing_of_how_it_was_made(out: Path, tmp_path: Path) -> None:
    rewrite(out / PT.package, lambda record: record.pop("provenance"))
    with pytest.raises(InputError, match="does not say how it was made"):
        plan_of(out, tmp_path / "again")


def test_another_environment_is_told(out: Path) -> None:
    (package, *_) = packages(out)
    told = replay.compare(package, package, {"code": "of another day"})
    assert (
        "code",
        str(package.manifest["provenance"]["environment"].get("code")),
        "of another day",
    ) in told.environment
