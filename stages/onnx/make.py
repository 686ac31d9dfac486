"""From checkpoint to a verified ONNX file: rebuild, export, simplify, check, compare, evaluate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mcwbuild.contract import disk
from mcwbuild.contract.bench import Bench, Step
from mcwbuild.contract.errors import StageFailed
from mcwbuild.contract.phases import ONNX
from stages.common.agreement import agrees, compare_outputs, in_words
from stages.common.evaluate import Evaluation, evaluate, summary
from stages.onnx import graph
from stages.onnx.ort_runner import OrtRunner
from stages.onnx.request import Request

MIN_COSINE = 0.999  # against PyTorch, for each output; a sound export has 0.999999 and more
SIMPLIFIED_COSINE = 0.999999  # against the graph as exported: the same library, sums in another order at most
NOT_WANTED = "--no-simplify was given"
Outputs = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Made:
    """The ONNX file's bytes and all that was found out about it.

    `unsimplified` is why the graph was not simplified, empty where it was; `agreement` has a row for each output
    (against PyTorch), over `compared` images; `shapes` are the outputs' as they came out.
    """

    data: bytes
    sha256: str
    parameters: int
    head: dict[str, Any]
    unsimplified: str
    shapes: dict[str, list[int]]
    agreement: list[dict[str, Any]]
    compared: int
    evaluation: Evaluation
    device: dict[str, Any]


def make(request: Request, bench: Bench) -> Made:
    """Write `best.onnx` into `bench.out` and measure it.

    Raises StageFailed where the network cannot be exported, loaded or checked, InputError for images that cannot
    be read.
    """
    torch.set_num_threads(bench.threads)
    with bench.step("rebuild", request.source["model"]["type"]):
        network, head = request.family.cut(request.family.build(request.checkpoint))
    with bench.step("export", f"opset {request.opset}") as step:
        channels = request.contract["input"]["channels"]
        exported = graph.export(network, request.size, channels, head["outputs"], request.opset)
        data, unsimplified = _simplified(request, exported, head)
        data = graph.label(data, request.source, head)
        graph.check(data)
        step.result = f"{len(data) / 1e6:.1f} MB{', not simplified: ' + unsimplified if unsimplified else ''}"
    path = bench.out / ONNX.artefacts[0]
    disk.write_atomic(path, data)
    runner = OrtRunner(data, request.contract, head["outputs"], bench.threads)
    with bench.step("compare", "with PyTorch") as step:
        rows, shapes = _against_torch(request, network, runner, head, step)
    with bench.step("evaluate", f"{len(request.images.images)} images on {runner.device['model']}") as step:
        found = evaluate(
            runner,
            partial(_decode, request, head),
            request.images.images,
            request.images.labels,
            request.contract,
            request.settings.of(head),
            step.progress,
        )
        step.result = summary(found)
    return Made(
        data=data,
        sha256=disk.sha256_of(path),
        parameters=graph.values(data),
        head=head,
        unsimplified=unsimplified,
        shapes=shapes,
        agreement=rows,
        compared=request.images.compared,
        evaluation=found,
        device=runner.device,
    )


def _decode(request: Request, head: dict[str, Any], outputs: Outputs, confidence: float) -> Any:
    return request.family.decode(outputs, head, confidence)


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


def _against_torch(
    request: Request, network: torch.nn.Module, runner: OrtRunner, head: dict[str, Any], step: Step
) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
    """Agreement of each output with PyTorch's, and the outputs' shapes."""
    shapes: dict[str, list[int]] = {}

    def pairs() -> Iterator[tuple[Outputs, Outputs]]:
        for prepared in request.images.prepared(request.contract):
            feed = runner.feed(prepared)
            with torch.inference_mode():
                expected = [output.numpy() for output in network(torch.from_numpy(feed))]
            found = runner.run(feed)
            shapes.update((name, list(output.shape)) for name, output in zip(head["outputs"], found, strict=True))
            yield expected, found

    rows = compare_outputs(pairs(), head["outputs"])
    step.result = in_words(rows)
    return rows, shapes
