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
from mcwbuild.contract.results import Results
from stages.common import contract_doctor, evaluation_file, kept_results
from stages.common.contract_findings import trained_size
from stages.common.evaluate import Evaluation, evaluate, finite_check, summary, test_configuration
from stages.common.evaluation_file import Kept, order_of
from stages.common.findings import Finding, tell
from stages.common.image_set import ImageSet
from stages.common.keeping import Keeping
from stages.common.output_findings import not_finite
from stages.families import family_of
from stages.families.shapes import output_shapes
from stages.families.source import guessed
from stages.pt import counted
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
    outputs, flops = counted.run(lambda: runner.run(runner.feed(next(images.prepared(contract, 1)))))
    shapes = [list(output.shape) for output in outputs]
    decode = partial(_decode, head)
    keeping = Keeping(request.evaluation, lambda: {"model": request.model.sha256, "head": head}, bench.note)
    with bench.step("evaluate", f"{len(images.images)} images on {runner.device['model']}") as step:
        chosen = settings.of(head)
        found = evaluate(runner, decode, images.images, images.labels, contract, chosen, step.progress, keeping)
        step.result = summary(found)
    if found.per_image is not None:
        kept = Kept(request.model.sha256, order_of(images.images), found.per_image)
        evaluation_file.write(kept, bench.out / PT.evaluation, bench)
    shown = kept_results.found_in(found, contract, settings.confidence)
    kept_results.write(bench.out / PT.results, Results(order_of(images.images), {PT.name: shown}), bench)
    checks = _checks(shapes, output_shapes(head, size), found)
    examined = _examined(request, cut, head, images, found, bench)
    checks += [] if examined is None else [contract_doctor.check(examined)]
    doubts = [] if examined is None else contract_doctor.findings(examined, PT.source)
    doubts += _findings(request, found, bench, {one.name for one in doubts})
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
        model_info={**_model_info(request, cut, head, shapes, bench), "flops": flops},
        tuning_history=contract_doctor.history(examined) if examined else (),
        issues=[*_guesses(request), *(one.issue(PT.name) for one in doubts)],
        validation=performance.validation(
            [], checks, verdict="failed" if any(check.status == "failed" for check in checks) else "passed"
        ),
    )


def _examined(
    request: Request,
    cut: torch.nn.Module,
    head: dict[str, Any],
    images: ImageSet,
    found: Evaluation,
    bench: Bench,
) -> contract_doctor.Diagnosis | None:
    """What the doctor says of the contract; None where nobody asked, or there is nothing to ask with."""
    if not request.doctor or images.labels is None:
        return None
    threads = request.settings.threads
    patient = contract_doctor.Patient(
        runner=lambda contract: TorchRunner(cut, contract, threads),
        decode=partial(_decode, head),
        settings=request.settings.of(head),
        evaluation=found,
        file=PT.source,
        stride=max(head["strides"]) if "strides" in head else None,  # without, the input's size is the network's own
    )
    return contract_doctor.examine(patient, images, request.contract, bench)


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


def _findings(request: Request, found: Evaluation, bench: Bench, known: set[str]) -> list[Finding]:
    """What is found beside the doctor's doubts `known`, told."""
    made = [not_finite("PyTorch", found.not_finite), trained_size(request.source)]
    new = [one for one in made if one is not None and one.name not in known]
    tell(new, bench)
    return new


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
