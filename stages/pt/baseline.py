"""The baseline: the network in PyTorch, cut at its head, through the one evaluator."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

import mcwbuild
from mcwbuild.contract import disk, inherit, manifest, performance
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.performance import Check
from mcwbuild.contract.phases import PT
from stages.common.evaluate import Evaluation, evaluate, finite_check, summary, test_configuration
from stages.common.image_set import ImageSet
from stages.families import family_of
from stages.families.shapes import output_shapes
from stages.families.source import guessed
from stages.pt.request import Request
from stages.pt.torch_runner import TorchRunner


def measure(network: torch.nn.Module, request: Request, images: ImageSet, bench: Bench) -> dict[str, Any]:
    """The performance record of the network; the checkpoint and the source lie in `bench.out` already.

    Raises InputError where an image cannot be decoded, or the copied checkpoint is not the one that was read.
    """
    contract, settings = request.contract, request.settings
    cut, head = request.model.cut(network, contract)
    runner = TorchRunner(cut, contract, settings.threads)
    size = contract["input"]["size"]
    shapes = [list(output.shape) for output in runner.run(runner.feed(next(images.prepared(contract, 1))))]
    decode = partial(_decode, head)
    with bench.step("evaluate", f"{len(images.images)} images on {runner.device['model']}") as step:
        found = evaluate(runner, decode, images.images, images.labels, contract, settings.of(head), step.progress)
        step.result = summary(found)
    checks = _checks(shapes, output_shapes(head, size), found)
    return performance.record(
        performance.report_info(
            "pt",
            manifest.now(),
            mcwbuild.__version__,
            inherit.contract_sha256(request.source),
            {"file": PT.source, "sha256": disk.sha256_of(bench.out / PT.source)},
        ),
        test_configuration={**images.configuration, **test_configuration(contract, settings)},
        device=runner.device,
        accuracy_metrics=found.metrics,
        inference_performance=found.inference,
        model_info=_model_info(request, cut, head, shapes, bench),
        issues=_guesses(request),
        validation=performance.validation(
            [], checks, verdict="passed" if all(check.status == "passed" for check in checks) else "failed"
        ),
    )


def _model_info(
    request: Request, cut: torch.nn.Module, head: dict[str, Any], shapes: list[list[int]], bench: Bench
) -> dict[str, Any]:
    """`model_info` of the record: the copied checkpoint, and the cut network's tensors."""
    model, of_input = request.model, request.contract["input"]
    if disk.sha256_of(bench.out / PT.artefacts[0]) != model.sha256:
        raise InputError(
            f"{model.file} changed while it was read.", "Its copy is not what was measured.", "Start again."
        )
    named = zip(head["outputs"], shapes, strict=True)
    return {
        "file": PT.artefacts[0],
        "sha256": model.sha256,
        "size": model.size,
        "parameters": sum(part.numel() for part in cut.parameters()),
        "inputs": [{"name": "images", "dtype": "float32", "shape": [1, of_input["channels"], *of_input["size"]]}],
        "outputs": [{"name": name, "dtype": "float32", "shape": shape} for name, shape in named],
    }


def _guesses(request: Request) -> list[dict[str, str]]:
    """Values of the contract that were guessed when it was begun, and that nobody has confirmed."""
    return [
        {
            "phase": PT.name,
            "what": f"{name} is a guess.",
            "cause": "The network does not tell it, and it still stands in training.guessed of training_source.yaml.",
            "remedy": "Compare it with the code that trained the network, and take its name out of training.guessed.",
        }
        for name in guessed(request.source)
    ]


def _decode(head: dict[str, Any], outputs: Any, confidence: float) -> Any:
    return family_of(head).decode(outputs, head, confidence)


def _checks(shapes: list[list[int]], wanted: list[list[int]], found: Evaluation) -> list[Check]:
    right = shapes == wanted
    return [
        Check("model loads", "passed", "From the file's weights, by its own architecture."),
        Check(
            "output shapes",
            "passed" if right else "failed",
            f"The outputs are {shapes}" + ("." if right else f", not {wanted}."),
        ),
        finite_check(found),
    ]
