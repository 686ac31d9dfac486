"""The search over a stand-in for the builds: what it keeps, passes over, gives up, and goes on from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import StageFailed
from mcwbuild.contract.events import Event, Noted
from mcwbuild.contract.limits import Limit
from mcwbuild.contract.performance import gate
from stages.rknn import compiler_log
from stages.rknn.job import Measured, Quantization
from stages.rknn.outcome import Outcome
from stages.rknn.request import Tries
from stages.rknn.tune import search

PLAIN = Quantization("normal", "channel", 50)
Drop = Callable[[Quantization], float]
LAYERS = [
    {"op": "Conv", "tensors": [f"c{n}"], "nodes": [f"/c{n}"], "reads": [f"c{n - 1}"] if n else [],
     "cosine": 1 - n / 100, "error": 1.0, "total_cosine": 0.9, "total_error": 1.0}
    for n in range(10)
]  # fmt: skip
ROW = "D RKNN: [00:00:00.0] {0} Conv INT8 NPU (1),(1) (1) 1/9/100 1 Conv:/c{0}\n"
TABLE = "".join(ROW.format(n) for n in range(10))


@dataclass
class Stand:
    """A workshop whose builds lose what `drop` says, in percent; `broken` ones the toolkit refuses."""

    tries: Tries
    scratch: Path
    drop: Drop
    effort: str = "fast"
    budget: float = 1000.0
    broken: tuple[str, ...] = ()
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.children = SimpleNamespace(of=lambda name: None)
        self.calibrated = SimpleNamespace(sha256="cal")
        model = SimpleNamespace(sha256="model", contract_sha256="contract")
        self.asked = SimpleNamespace(
            effort=self.effort, layers=False, tries=self.tries, budget=self.budget, model=model,
            target=SimpleNamespace(fp16="", platform="rk3588"), optimization_level=3, previous=None, gates=(),
            images=SimpleNamespace(record=None), confidence=0.25, iou=0.7, max_detections=300,
        )  # fmt: skip

    def plain(self, variant: str) -> Quantization:
        return PLAIN

    def make(self, name: str, variant: str, chosen: Quantization, emit: Any, **asked: Any) -> Outcome:
        self.made.append(name)
        if name in self.broken:
            raise StageFailed("The int8 build failed.", "The toolkit says: no.", kind="toolkit")
        drop = self.drop(chosen)
        snr = 40.0 - drop / 2
        row = {"name": "out", "cosine": 0.9, "max_error": 1.0, "snr_db": snr}
        least = asked.get("prune_below")
        pruned = "" if least is None or snr >= least else "too noisy"
        measured = Measured(
            device={}, metrics={}, inference={}, not_finite=[], seconds={"build": 1.0}, peak_kb=1024, pruned=pruned,
            comparison={"outputs": [row], "findings": [], "reference": 1, "build": 1},
            layers=LAYERS if asked.get("analyse") else [],
        )  # fmt: skip
        log = compiler_log.parse(TABLE.replace(" INT8 ", " FLOAT16 ") if len(chosen.layers) == 10 else TABLE)
        built = SimpleNamespace(measured=measured, log=log, disabled_rules=())
        found = gate("top1", "onnx", 1.0, 1 - drop / 100, Limit(5.0, True), variant="int8")
        return Outcome("int8", chosen, built, SimpleNamespace(size=1), () if pruned else (found,))  # type: ignore[arg-type]


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def bench(tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(search, "version", lambda name: "2.3.2")
    return Bench(tmp_path, tmp_path, 1, events.append)


def stand(folder: Path, drop: Drop, **changes: Any) -> Stand:
    kept = folder / ".tuning" / "tries.json"
    return Stand(Tries(kept, kept if kept.is_file() else None, own=True), folder, drop, **changes)


def by_layer(chosen: Quantization) -> float:
    """c9 loses most; in a finer type, little is left."""
    return 3.0 if "c9" in dict(chosen.layers) else 30.0


def test_a_plain_build_that_passes_costs_nothing_and_keeps_nothing(tmp_path: Path, bench: Bench) -> None:
    workshop = stand(tmp_path, lambda chosen: 1.0)
    found = search.int8(workshop, bench)  # type: ignore[arg-type]
    assert workshop.made == ["int8"]
    assert (len(found.tries), found.reason) == (1, "")
    assert not workshop.tries.path.exists()


def test_off_leaves_it_at_the_plain_build(tmp_path: Path, bench: Bench) -> None:
    workshop = stand(tmp_path, by_layer, effort="off")
    assert search.int8(workshop, bench).tries[0].verdict == "failed"  # type: ignore[arg-type]
    assert workshop.made == ["int8"]


def test_it_finds_the_layer_and_a_second_search_is_the_same(tmp_path: Path, bench: Bench) -> None:
    plans = []
    for folder in ("a", "b"):
        found = search.int8(stand(tmp_path / folder, by_layer), bench)  # type: ignore[arg-type]
        assert found.outcome.quantization is not None
        assert dict(found.outcome.quantization.layers) == {"c9": "float16"}
        plans.append([replace(one, seconds=0.0) for one in found.tries])
    assert plans[0] == plans[1]


def test_what_a_killed_run_tried_is_not_tried_again(tmp_path: Path, bench: Bench, events: list[Event]) -> None:
    class Killed(Exception):
        pass

    def dies(chosen: Quantization) -> float:
        if chosen.layers:
            raise Killed
        return 30.0

    first = stand(tmp_path, dies)
    with pytest.raises(Killed):
        search.int8(first, bench)  # type: ignore[arg-type]
    assert first.made == ["int8", "int8-2", "int8-3"]
    second = stand(tmp_path, by_layer)
    found = search.int8(second, bench)  # type: ignore[arg-type]
    assert second.made[0] == "int8-3"
    assert [one.name for one in found.tries[:3]] == ["int8", "int8-2", "int8-3"]
    assert any(isinstance(event, Noted) and "Goes on after 2 tries" in event.text for event in events)


def test_the_one_to_take_is_built_again_where_only_its_figures_are_left(tmp_path: Path, bench: Bench) -> None:
    search.int8(stand(tmp_path, by_layer), bench)  # type: ignore[arg-type]
    again = stand(tmp_path, by_layer)
    found = search.int8(again, bench)  # type: ignore[arg-type]
    assert again.made == ["int8-3-again"]
    assert found.outcome.quantization is not None
    assert found.outcome.quantization.layers


def test_a_build_that_the_toolkit_refuses_is_written_down_and_passed_over(tmp_path: Path, bench: Bench) -> None:
    found = search.int8(stand(tmp_path, by_layer, broken=("int8-2",)), bench)  # type: ignore[arg-type]
    assert found.tries[1].verdict == "broken"
    assert "The toolkit says: no." in found.tries[1].reason
    assert "passed" in {one.verdict for one in found.tries}
    with pytest.raises(StageFailed):
        search.int8(stand(tmp_path / "plain", by_layer, broken=("int8",)), bench)  # type: ignore[arg-type]


def test_time_that_is_spent_ends_it_with_the_best_so_far(tmp_path: Path, bench: Bench, events: list[Event]) -> None:
    moments = iter(range(0, 100_000, 400))
    workshop = stand(tmp_path, lambda chosen: 30.0 if chosen == PLAIN else 20.0)
    found = search.int8(workshop, bench, lambda: float(next(moments)))  # type: ignore[arg-type]
    assert "The budget of 1000 s was spent" in found.reason
    assert found.outcome.quantization == replace(PLAIN, algorithm="kl_divergence")
    assert any(isinstance(event, Noted) and event.level == "warning" for event in events)


def test_mmse_is_left_out_where_there_is_no_time_for_it_and_the_rest_goes_on(
    tmp_path: Path, bench: Bench, events: list[Event]
) -> None:
    workshop = stand(tmp_path, lambda chosen: 3.0 if "c9" in dict(chosen.layers) else 30.0, effort="full", budget=20.0)
    found = search.int8(workshop, bench, lambda: 0.0)  # type: ignore[arg-type]
    assert "mmse" not in {one.quantization.algorithm for one in found.tries}
    assert "passed" in {one.verdict for one in found.tries}
    assert any(isinstance(event, Noted) and event.text.startswith("mmse is left out") for event in events)


def test_where_float16_fails_too_it_says_that_nothing_can_pass(tmp_path: Path, bench: Bench) -> None:
    found = search.int8(stand(tmp_path, lambda chosen: 30.0), bench)  # type: ignore[arg-type]
    assert "no mixture can pass" in found.reason


def test_what_passes_with_nothing_in_int8_is_no_int8_build(tmp_path: Path, bench: Bench) -> None:
    found = search.int8(stand(tmp_path, lambda chosen: 0.0 if len(chosen.layers) == 10 else 30.0), bench)  # type: ignore[arg-type]
    assert "FP16 is what it needs" in found.reason
    assert "float16" in {one.verdict for one in found.tries}
    assert found.outcome.quantization is not None
    assert len(found.outcome.quantization.layers) < 10
