"""From checkpoint or given ONNX file to a verified ONNX file: export or cut, simplify, check, compare, evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from mcwbuild.contract import disk
from mcwbuild.contract.bench import Bench, Step
from mcwbuild.contract.errors import StageFailed
from mcwbuild.contract.phases import ONNX
from stages.common.agreement import agrees, compare_outputs, in_words
from stages.common.contract_doctor import Diagnosis, Patient, examine
from stages.common.evaluate import Decode, Evaluation, Runner, evaluate, summary
from stages.common.keeping import Keeping
from stages.common.task_agreement import TaskAgreement
from stages.families import family_of
from stages.families.model import ModelFile
from stages.onnx import given as given_files
from stages.onnx import graph, own, reference
from stages.onnx.given import Given
from stages.onnx.ort_runner import OrtRunner
from stages.onnx.own import Outputs
from stages.onnx.reference import Reference
from stages.onnx.request import Request
from stages.onnx.whole import Whole

SIMPLIFIED_COSINE = 0.999999  # against the graph as exported: the same library, sums in another order at most
NOT_WANTED = "--no-simplify was given"


@dataclass(frozen=True)
class Made:
    """The ONNX file's bytes and all that was found out about it.

    `figures` are its parameters and operations; `unsimplified` is why the graph was not simplified, empty where it
    was; `agreement` has a row for each output of `reference`, over `compared` images, `agreement_of_results` is what
    `TaskAgreement.block` gives; `shapes` are the outputs' as they came out; `baseline` is the given file's own
    evaluation, None where the pt phase has measured it or nothing is labelled; `examined` is what the contract's doctor
    says, where it was asked.
    """

    data: bytes
    sha256: str
    figures: dict[str, Any]
    head: dict[str, Any]
    unsimplified: str
    shapes: dict[str, list[int]]
    reference: Reference
    agreement: list[dict[str, Any]]
    agreement_of_results: dict[str, Any]
    compared: int
    baseline: Evaluation | None
    evaluation: Evaluation
    device: dict[str, Any]
    examined: Diagnosis | None = None


@dataclass(frozen=True)
class Raw:
    """A graph as it was exported or cut; `baseline` evaluates the given file, where there is one."""

    data: bytes
    head: dict[str, Any]
    reference: Reference
    baseline: Callable[[], Evaluation] | None


def make(request: Request, bench: Bench) -> Made:
    """Write `best.onnx` into `bench.out` and measure it.

    Raises StageFailed where the network cannot be exported, loaded or checked, InputError for images that cannot
    be read.
    """
    torch.set_num_threads(bench.threads)
    if isinstance(request.origin, Given):
        raw = _cut(request, request.origin, bench)
    elif isinstance(request.origin, Whole):
        raw = _taken(request, request.origin, bench)
    else:
        raw = _exported(request, request.origin, bench)
    with bench.step("simplify" if request.simplify else "check", f"opset {request.opset}") as step:
        data, unsimplified = _simplified(request, raw.data, raw.head)
        data = graph.label(data, request.source, raw.head)
        graph.check(data)
        step.result = f"{len(data) / 1e6:.1f} MB{', not simplified: ' + unsimplified if unsimplified else ''}"
    path = bench.out / ONNX.artefacts[0]
    disk.write_atomic(path, data)
    runner = OrtRunner(data, request.contract, raw.head["outputs"], bench.threads)
    with bench.step("compare", f"with {'PyTorch' if raw.baseline is None else 'the given graph'}") as step:
        rows, shapes, agreement = _against(request, raw.reference, runner, raw.head, step)
    baseline = raw.baseline() if raw.baseline is not None and request.images.labels is not None else None
    kept = Keeping(request.evaluation, lambda: {"model": disk.sha256_of(path), "head": raw.head}, bench.note)
    found = _evaluated(request, runner, raw.head, partial(_decode, raw.head), "evaluate", bench, kept)
    return Made(
        data=data,
        sha256=disk.sha256_of(path),
        figures=graph.figures(data, tried=unsimplified != NOT_WANTED),
        head=raw.head,
        unsimplified=unsimplified,
        shapes=shapes,
        reference=raw.reference,
        agreement=rows,
        agreement_of_results=agreement,
        compared=request.images.compared,
        baseline=baseline,
        evaluation=found,
        device=runner.device,
        examined=_examined(request, runner, raw.head, found, bench),
    )


def _examined(
    request: Request, runner: OrtRunner, head: dict[str, Any], found: Evaluation, bench: Bench
) -> Diagnosis | None:
    """What the doctor says of the contract of a given file; that of a checkpoint was examined in the pt phase."""
    if not request.doctor or request.given is None or request.images.labels is None:
        return None
    patient = Patient(runner.under, partial(_decode, head), request.settings.of(head), found, ONNX.source)
    return examine(patient, request.images, request.contract, bench)


def _exported(request: Request, model: ModelFile, bench: Bench) -> Raw:
    """The file's network, cut and exported."""
    with bench.step("rebuild", request.source["model"]["type"]):
        network, head = model.cut(model.build(), request.contract)
    with bench.step("export", f"opset {request.opset}"):
        channels = request.contract["input"]["channels"]
        data = graph.export(network, request.size, channels, head["outputs"], request.opset)
    return Raw(data, head, reference.of_torch(network, head["outputs"], partial(_decode, head)), None)


def _cut(request: Request, given: Given, bench: Bench) -> Raw:
    """The given graph, cut at its head's convolutions; it is its own baseline."""
    with bench.step("cut", given.file) as step:
        data, head = given_files.cut(given), given.head.described
        step.result = f"{head['num_classes']} classes"
    names = own.tensors(given.head)
    runner = OrtRunner(given.exposed(names), request.contract, names, bench.threads)
    deployed = OrtRunner(given.data, request.contract, given.head.outputs, bench.threads)

    def baseline() -> Evaluation:
        return _evaluated(request, deployed, head, partial(own.results, given.head), "baseline", bench)

    return Raw(data, head, reference.of_given(given, runner), baseline)


def _taken(request: Request, whole: Whole, bench: Bench) -> Raw:
    """The given graph with all of its outputs; it is its own baseline."""
    runner = OrtRunner(whole.data, request.contract, whole.outputs, bench.threads)
    with bench.step("outputs", whole.file) as step:
        data, head = whole.renamed(), whole.head(runner, request.images, request.contract)
        step.result = ", ".join(whole.outputs)

    def baseline() -> Evaluation:
        return _evaluated(request, runner, head, partial(_decode, head), "baseline", bench)

    return Raw(data, head, reference.of_whole(runner, whole.outputs, partial(_decode, head)), baseline)


def _evaluated(
    request: Request,
    runner: Runner,
    head: dict[str, Any],
    decode: Decode,
    name: str,
    bench: Bench,
    kept: Keeping | None = None,
) -> Evaluation:
    images, settings = request.images, request.settings.of(head)
    with bench.step(name, f"{len(images.images)} images on {runner.device['model']}") as step:
        of = (images.images, images.labels, request.contract)
        found = evaluate(runner, decode, *of, settings, step.progress, kept)
        step.result = summary(found)
    return found


def _decode(head: dict[str, Any], outputs: Any, confidence: float) -> Any:
    return family_of(head).decode(outputs, head, confidence)


def _simplified(request: Request, exported: bytes, head: dict[str, Any]) -> tuple[bytes, str]:
    """The simplified model if it gives the same outputs on the images, else the exported one and the reason."""
    if not request.simplify:
        return exported, NOT_WANTED
    slim, reason = graph.simplify(exported)
    if reason:
        return exported, reason
    before = OrtRunner(exported, request.contract, head["outputs"], request.settings.threads)
    try:
        after = OrtRunner(slim, request.contract, head["outputs"], request.settings.threads)
    except StageFailed as error:
        return exported, f"the simplified graph is not sound: {error.found}"
    pairs = (
        (before.run(before.feed(prepared)), after.run(after.feed(prepared)))
        for prepared in request.images.prepared(request.contract)
    )
    for row in compare_outputs(pairs, head["outputs"]):
        if not agrees(row, SIMPLIFIED_COSINE):
            return exported, f"the simplified graph's {row['name']} differs by {row['max_error']}"
    return slim, ""


def _against(
    request: Request, other: Reference, runner: OrtRunner, head: dict[str, Any], step: Step
) -> tuple[list[dict[str, Any]], dict[str, list[int]], dict[str, Any]]:
    """Agreement with the reference output by output, the outputs' shapes, and agreement in results."""
    shapes: dict[str, list[int]] = {}
    results = TaskAgreement(request.contract, request.settings.of(head))

    def pairs() -> Iterator[tuple[Outputs, Outputs]]:
        for prepared in request.images.prepared(request.contract, request.images.compared):
            feed = runner.feed(prepared)
            found, expected = runner.run(feed), other.run(feed)
            shapes.update((name, list(output.shape)) for name, output in zip(head["outputs"], found, strict=True))
            results.add(other.decode(expected, results.confidence), _decode(head, found, results.lowest))
            yield other.own(expected), other.same(found)

    rows = compare_outputs(pairs(), other.names)
    step.result = in_words(rows)
    return rows, shapes, results.block()
