"""The search itself: each try is built and judged in a child process of its own, kept, and told."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version

from mcwbuild import __version__
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import StageFailed
from stages.rknn.compiler_log import CompilerLog
from stages.rknn.job import Finer, Quantization
from stages.rknn.layer_errors import LayerError
from stages.rknn.outcome import Outcome
from stages.rknn.request import Tries
from stages.rknn.tune import choice, plan, state, trial
from stages.rknn.tune.plan import Layer, Question, Step
from stages.rknn.tune.trial import Trial
from stages.rknn.workshop import Workshop

_SEARCH = "int8 search"


@dataclass(frozen=True)
class Found:
    """What came of a variant: the build that is taken, every try, the layers' errors, why a search ended without one
    that passed.
    """

    outcome: Outcome
    tries: tuple[Trial, ...] = ()
    layers: tuple[LayerError, ...] = ()
    reason: str = ""


@dataclass
class _Search:
    """The search under way. `outcomes` holds what this run built and still has the files of."""

    workshop: Workshop
    bench: Bench
    asked: Question
    key: str
    tries: list[Trial] = field(default_factory=list)
    layers: list[LayerError] = field(default_factory=list)
    log: CompilerLog | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)


def int8(workshop: Workshop, bench: Bench, clock: Callable[[], float] = time.monotonic) -> Found:
    """The plain INT8 build where it needs no more, else the best of a search.

    Raises what the plain build raises; a later try that the toolkit cannot build is recorded and passed over.
    """
    request = workshop.asked
    plain = workshop.plain("int8")
    assert plain is not None
    assert request.tries is not None
    under_way = _Search(workshop, bench, Question(request.effort, plain, _finer(workshop)), _key(workshop, plain))
    if request.effort != "off":
        under_way.tries, under_way.layers = state.load(request.tries, under_way.key)
        if under_way.tries:
            bench.note(f"Goes on after {len(under_way.tries)} tries for INT8: an earlier run was stopped there.")
            state.save(request.tries, under_way.key, under_way.tries, under_way.layers)
    if not under_way.tries:
        _try(under_way, Step(plain, "the plain build"), request.layers)
        if request.effort == "off" or under_way.tries[0].verdict in ("passed", "likely"):
            return _found(under_way, "")
        state.save(request.tries, under_way.key, under_way.tries, under_way.layers)
    return _found(under_way, _go_on(under_way, request.tries, request.budget, clock))


def _finer(workshop: Workshop) -> tuple[Finer, ...]:
    """The finer types that the chip computes in: those that compute in integers only have no float16."""
    return ("int16",) if workshop.asked.target.fp16 else ("float16", "int16")


def _go_on(search: _Search, kept: Tries, budget: float, clock: Callable[[], float]) -> str:
    """Try until one passes, or nothing is left, or the time is spent. Returns why it ended."""
    began = clock() - sum(one.seconds for one in search.tries)
    search.bench.note(f"INT8 misses its gate: {search.tries[0].reason} Searches for a build that passes.")
    while True:
        layers = _layers(search)
        step = plan.following(search.asked, search.tries, layers)
        if step is None:
            return plan.ended(search.tries, layers)
        left = budget - (clock() - began)
        needed = _estimate(search, step)
        slow = step.quantization.algorithm == "mmse"
        if slow and left < needed:
            minutes = max(1, round(needed / 60))
            search.bench.note(f"mmse is left out: it takes about {minutes} min, and {max(0.0, left):.0f} s are left.")
            search.asked = replace(search.asked, mmse=False)
            continue
        if left < needed:
            return f"The budget of {budget:g} s was spent; {step.why} was not tried."
        if slow:
            search.bench.note(f"mmse is tried next; it takes about {max(1, round(needed / 60))} min.")
        _try(search, step, not search.layers)
        state.save(kept, search.key, search.tries, search.layers)


def _try(search: _Search, step: Step, analyse: bool) -> None:
    """One try: built and judged, or broken; its place in the history is its name."""
    number = len(search.tries) + 1
    name = "int8" if number == 1 else f"int8-{number}"
    if number > 1:
        search.workshop.children.of(f"int8-{number + 1}")  # the next one's child loads the toolkit beside this one
    start = time.monotonic()
    try:
        outcome = search.workshop.make(
            name, "int8", step.quantization, search.bench.emit, prune_below=trial.bar(search.tries), analyse=analyse
        )
    except StageFailed as error:
        if number == 1:
            raise
        broken = f"{error.what} {error.found}"
        seconds = round(time.monotonic() - start, 1)
        search.tries.append(Trial(name, step.why, step.quantization, "broken", broken, seconds))
        return
    made = trial.judged(name, step.why, outcome, time.monotonic() - start)
    search.tries.append(made)
    if outcome.built.measured.layers:
        search.layers = [LayerError.of(one) for one in outcome.built.measured.layers]
    if not step.quantization.layers and step.quantization.auto_hybrid is None:
        search.log = search.log or outcome.built.log
    search.outcomes[name] = outcome
    best = choice.best(search.tries)
    for other in [other for other in search.outcomes if best is None or other != best.name]:
        _drop(search, other)


def _drop(search: _Search, name: str) -> None:
    """The files of a try that is not the best so far."""
    del search.outcomes[name]
    shutil.rmtree(search.workshop.scratch / name, ignore_errors=True)


def _estimate(search: _Search, step: Step) -> float:
    """About how many seconds the step takes: what a try took so far, and what mmse adds."""
    first = search.tries[0]
    if step.quantization.algorithm != "mmse":
        return 0.0 if len(search.tries) < 2 else min(one.seconds for one in search.tries)
    built = first.build_seconds or 1.0
    return first.seconds + plan.seconds_of_mmse(step.quantization.images, built, first.quantization.images)


def _layers(search: _Search) -> list[Layer]:
    """The layers as the plan takes them: errors beside the compiler's cycles of an INT8 build."""
    rows = {row.name: row for row in search.log.layers} if search.log else {}
    places = {tensor: place for place, layer in enumerate(search.layers) for tensor in layer.tensors}
    made = []
    for layer in search.layers:
        row = next((rows[node] for node in layer.nodes if node in rows), None)
        made.append(
            Layer(
                tensors=layer.tensors,
                error=_error(layer),
                cycles=row.cycles if row else 0,
                traffic_kb=row.traffic_kb if row else 0,
                reads=tuple(sorted({places[name] for name in layer.reads if name in places})),
            )
        )
    return made


def _error(layer: LayerError) -> float:
    """What the layer adds, as 1 - cosine: by the toolkit's analysis, else by its noise beside ONNX Runtime.

    Noise of a share n of the signal, at right angles to it, makes a cosine of about 1 - n / 2.
    """
    if layer.cosine is not None:
        return max(0.0, round(1 - layer.cosine, 5))
    return 0.0 if layer.added is None else round(min(1.0, layer.added / 2), 5)


def _found(search: _Search, reason: str) -> Found:
    """The best try; it is built once more where its files are gone, which a run that goes on may have to."""
    best = choice.best(search.tries) or search.tries[0]
    outcome = search.outcomes.get(best.name)
    if outcome is None:
        again = f"{best.name}-again"
        outcome = search.workshop.make(again, "int8", best.quantization, search.bench.emit)
    if len(search.tries) > 1:
        search.bench.note(
            said(best, search.tries, reason), "info" if best.verdict in ("passed", "likely") else "warning"
        )
    passed = best.verdict in ("passed", "likely")
    return Found(outcome, tuple(search.tries), tuple(search.layers), "" if passed else reason)


def said(best: Trial, tries: Sequence[Trial], reason: str) -> str:
    """The result in a sentence, for people."""
    how = in_words(best.quantization)
    if best.verdict not in ("passed", "likely"):
        return f"INT8: none of {len(tries)} tries passed; the best is {how}. {reason}"
    share = "" if best.int8_share is None else f", {best.int8_share:.0%} of its cycles in INT8"
    share += ": a mixed build" if choice.mixed(best) else ""
    end = "passes" if best.verdict == "passed" else "is likely to pass"
    return f"INT8: the try {best.name} of {len(tries)} {end}: {how}{share}."


def in_words(chosen: Quantization) -> str:
    """How a build is quantized, in a few words."""
    words = f"{chosen.algorithm} by {chosen.method}, {chosen.images} images"
    if chosen.layers:
        kinds = " and ".join(sorted({kind for _, kind in chosen.layers}))
        words += f", {len(chosen.layers)} tensors in {kinds}"
    return words if chosen.auto_hybrid is None else f"{words}, auto_hybrid {chosen.auto_hybrid:g}"


def _key(workshop: Workshop, plain: Quantization) -> str:
    """SHA-256 of all that a try's result depends on."""
    asked, calibrated = workshop.asked, workshop.calibrated
    assert calibrated is not None
    parts = {
        "model": asked.model.sha256,
        "contract": asked.model.contract_sha256,
        "platform": asked.target.platform,
        "optimization_level": asked.optimization_level,
        "plain": asdict(plain),
        "calibration": calibrated.sha256,
        "images": asked.images.record,
        "reference": asked.previous["accuracy_metrics"] if asked.previous else None,
        "gates": [str(one) for one in asked.gates],
        "thresholds": [asked.confidence, asked.iou, asked.max_detections],
        "versions": [__version__, version("rknn-toolkit2")],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
