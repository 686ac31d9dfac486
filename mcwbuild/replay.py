"""A run repeated from the manifests of its packages: every step again, on the inputs that it had, and held against it.

A manifest says which inputs went in (by their contents, and where they lay), with which options, in which environment.
Each step is repeated on the inputs that it had, not on what the step before has made now: so the one that differs is
the one that is told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mcwbuild import comparison, freshness, inspection, plan
from mcwbuild.contract import dataset, disk, look
from mcwbuild.contract.errors import InputError, McwbuildError, Problem, Refused
from mcwbuild.contract.marks import shown
from mcwbuild.contract.phases import PT, RKNN
from mcwbuild.plan import Step
from mcwbuild.published import Published

Verdict = Literal["same bytes", "same metrics", "differs"]
_LISTS = {"--data texts": "--data", "--dataset images": "--dataset"}  # what is counted beside the input that names it
_TRUST = ("--trust-checkpoint", "--model", "--model-code")
# What mcwbuild gives to a stage. A manifest is somebody's file: nothing else in it becomes a word of a command.
_OPTIONS = (
    "--name", "--imgsz", "--opset", "--no-simplify", "--gate", "--contract-check", "--conf", "--iou",
    "--max-detections", "--threads", "--target", "--dtype", "--algorithm", "--optimization-level", "--tune",
    "--tune-budget", "--layers", "--reproducible", "--calibration-images", *_TRUST[:2],
)  # fmt: skip
_INPUTS = (
    "--pt", "--onnx", "--source", "--data", "--dataset", "--train", "--previous", "--evaluation", "--results",
    "--shared", _TRUST[2],
)  # fmt: skip


@dataclass(frozen=True)
class Same:
    """What came of one model: `a` is its main metric as it was, `b` as it is now, None where unmeasured."""

    model: str
    verdict: Verdict
    metric: str
    a: float | None
    b: float | None


@dataclass(frozen=True)
class Replayed:
    """One step repeated: its models, and what of its environment is another than it was (name, then, now)."""

    package: Path
    models: tuple[Same, ...]
    environment: tuple[tuple[str, str, str], ...]


def steps(packages: Sequence[Published], given: Mapping[str, Path], out: Path, *, trusted: bool) -> list[Step]:
    """A step for each package; it publishes below `out`, in a folder of the package's own.

    `given` are inputs by their flags, for those that lie elsewhere now. Raises InputError with every input that cannot
    be found or has changed, and Refused for a manifest that asks for what mcwbuild never asks a stage.
    """
    problems: list[Problem] = []
    made = []
    for number, package in enumerate(packages):
        parts = _ingredients(package)
        _require_harmless(package, parts, trusted=trusted)
        inputs = []
        for flag, digest in parts["inputs"].items():
            if flag in _LISTS:
                continue
            found = _find(flag, digest, package, given)
            if found is None:
                problems.append(_missing(flag, package, given))
            else:
                inputs.append((flag, found))
        target = out / f"{number}-{package.folder.name}" / package.phase.package
        images = _images(parts, dict(inputs))
        made.append(Step(_name(package), package.phase, tuple(inputs), tuple(parts["options"]), images, target))
        if not problems and (changed := _changed(made[-1], parts)):
            problems.append(changed)
    if problems:
        raise InputError(
            "The run cannot be repeated: not all that went in is here.",
            remedy="Say where it lies now, for example --pt best.pt --data data.yaml.",
            problems=problems,
            kind="inputs",
        )
    return made


def compare(package: Published, again: Published, identity: Mapping[str, str]) -> Replayed:
    """What the package has come to, beside what it was; `identity` is the environment that it was repeated in."""
    pairs, _, _ = comparison.pairs([package], [again])
    models = []
    for pair in pairs:
        a, b = pair.a.metrics.get(pair.b.main), pair.b.metrics.get(pair.b.main)
        same = all(_close(pair.a.metrics.get(name), value) for name, value in pair.b.metrics.items())
        verdict: Verdict = "same bytes" if _identical(package, again, pair.a.variant) else "differs"
        if verdict == "differs" and same and a is not None:
            verdict = "same metrics"
        models.append(Same(pair.label, verdict, pair.b.main, a, b))
    was = freshness.recorded(package.folder).get("environment", {})
    names = sorted({*was, *identity})
    changed = tuple((n, str(was.get(n)), str(identity.get(n))) for n in names if was.get(n) != identity.get(n))
    return Replayed(package.folder, tuple(models), changed)


def _close(a: float | None, b: float | None) -> bool:
    return a == b if a is None or b is None else abs(a - b) <= comparison.SAME


def _identical(package: Published, again: Published, variant: str | None) -> bool:
    """Whether the model's file is the same to the last byte; of a training's package, its checkpoint."""
    names = [f"best_{variant}.rknn"] if variant else list(package.phase.artefacts[:1])
    return all(disk.sha256_of(package.folder / name) == disk.sha256_of(again.folder / name) for name in names)


def _ingredients(package: Published) -> Mapping[str, Any]:
    parts = freshness.recorded(package.folder).get("ingredients")
    if not isinstance(parts, dict) or not isinstance(parts.get("inputs"), dict):
        raise InputError(
            f"{package.folder} does not say how it was made.",
            "Its manifest holds no ingredients: a stage that runs alone writes none.",
            "Repeat what `mcwbuild run` made.",
            kind="replay",
        )
    return parts


def _require_harmless(package: Published, parts: Mapping[str, Any], *, trusted: bool) -> None:
    words = [str(word).partition("=")[0] for word in parts["options"] if str(word).startswith("--")]
    strange = [word for word in words if word not in _OPTIONS]
    strange += [flag for flag in parts["inputs"] if flag not in (*_INPUTS, *_LISTS)]
    if strange:
        raise Refused(
            f"{package.folder} asks for what mcwbuild never asks of a stage.",
            f"Its manifest names {', '.join(map(shown, strange))}.",
            "Take it from where it was published.",
            kind="options",
        )
    if not trusted and any(word in _TRUST for word in (*words, *parts["inputs"])):
        raise Refused(
            f"{package.folder} was made with a checkpoint that was trusted.",
            "Repeating it runs the checkpoint's own code.",
            "Add --trust-checkpoint where you trust it too.",
            kind="trust",
        )


def _name(package: Published) -> str:
    return f"{package.phase.name} {package.target}" if package.target else package.phase.name


def _find(flag: str, digest: str, package: Published, given: Mapping[str, Path]) -> Path | None:
    """Where the input lies now: where it is said to, where it lay, or in a package of the same run."""
    told = [given[flag]] if flag in given else []
    return next((path for path in (*told, *_candidates(flag, package)) if _is(flag, path, digest)), None)


def _candidates(flag: str, package: Published) -> Iterator[Path]:
    place = freshness.recorded(package.folder).get("places", {}).get(flag)
    if isinstance(place, str):
        yield Path(os.path.normpath(package.folder.absolute() / place))
    for other in inspection.packages_in(package.run):
        if flag == "--shared":
            yield other
        else:
            yield from sorted(path for path in other.iterdir() if look.is_file(path))


def _is(flag: str, path: Path, digest: str) -> bool:
    """Whether the path holds what went in. One that cannot be read does not."""
    try:
        if not (look.is_file(path) or look.is_folder(path)):
            return False
        return freshness.content(flag, path) == digest
    except (OSError, McwbuildError):
        return False


def _missing(flag: str, package: Published, given: Mapping[str, Path]) -> Problem:
    if flag in given:
        return Problem(f"{flag}: this is not what the {package.phase.name} phase had", file=str(given[flag]))
    place = freshness.recorded(package.folder).get("places", {}).get(flag)
    lay = f"; it lay at {shown(place)}, seen from the package" if place else ""
    return Problem(f"the input {flag} of the {package.phase.name} phase is not found{lay}", file=str(package.folder))


def _images(parts: Mapping[str, Any], inputs: Mapping[str, Path]) -> tuple[Path, ...]:
    """The images that the step reads beside its inputs, as a plan has them."""
    if parts.get("images") is None or "--data" not in inputs:
        return ()
    found = dataset.read(inputs["--data"])
    if parts["phase"] == RKNN.name:
        words = list(parts["options"])
        flag = "--calibration-images"
        count = int(words[words.index(flag) + 1]) if flag in words else None
        return plan.rknn_images(found, count)
    trains = parts["phase"] == PT.name and "--train" in inputs
    return (*(found.splits.get("train", ()) if trains else ()), *plan.evaluation_images(found))


def _changed(step: Step, parts: Mapping[str, Any]) -> Problem | None:
    """Where images, or lists that an input names, are not what they were."""
    now = freshness.ingredients(step, {}, freshness.input_hashes(step))
    if now["images"] != parts.get("images"):
        where = str(dict(step.inputs).get("--data", step.phase.name))
        return Problem(f"images that the {step.phase.name} phase read have changed", file=where)
    differing = [flag for flag in _LISTS if now["inputs"].get(flag) != parts["inputs"].get(flag)]
    if differing:
        flag = _LISTS[differing[0]]
        return Problem("what this names has changed", file=str(dict(step.inputs).get(flag, flag)))
    return None
