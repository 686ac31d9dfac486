"""The plan: which steps a command means. Pure: no file is written, no engine asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from mcwbuild.contract import calibration_pool, look, names
from mcwbuild.contract.dataset import Dataset
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.limits import KEYS, SPEEDUP
from mcwbuild.contract.phases import ONNX, PT, RKNN, Phase
from mcwbuild.contract.resumable import EVALUATIONS, TRAINING, TUNING, Resumable
from mcwbuild.contract.targets import TARGETS
from mcwbuild.options import Settings

BUILD = Path("build")


@dataclass(frozen=True)
class Step:
    """One stage run: its inputs as (flag, file), its further flags, the package that it publishes.

    `images` are the images that it reads beside its inputs: their contents count for freshness. `anew` makes the
    package whether it is fresh or not, and a training begin at its first epoch.
    """

    name: str
    phase: Phase
    inputs: tuple[tuple[str, Path], ...]
    options: tuple[str, ...]
    images: tuple[Path, ...]
    package: Path
    anew: bool = False

    @property
    def trains(self) -> bool:
        """Whether it trains."""
        return any(flag == "--train" for flag, _ in self.inputs)

    @property
    def target(self) -> str | None:
        """The chip that it converts for."""
        return self.options[self.options.index("--target") + 1] if self.phase is RKNN else None

    @property
    def resumes(self) -> tuple[Resumable, ...]:
        """The kinds of work in it that may be stopped, and go on."""
        if any(flag == "--shared" for flag, _ in self.inputs):
            return ()  # it copies
        evaluations = tuple(kind for kind in EVALUATIONS.values() if kind.phase == self.phase.name)
        if self.trains:
            return (TRAINING, *evaluations)
        tunes = "--tune" in self.options and ("--tune", "off") not in pairwise(self.options)
        return (TUNING, *evaluations) if tunes else evaluations

    def with_kept(self) -> Step:
        """The step without an evaluation and results that the phase before did not keep."""
        kept = (item for item in self.inputs if item[0] not in ("--evaluation", "--results") or look.is_file(item[1]))
        return replace(self, inputs=tuple(kept))

    def sharing(self, parts: int, threads: int) -> Step:
        """The step with a share of its threads, of all `threads` where it names none; its key is the same."""
        if any(flag == "--shared" for flag, _ in self.inputs):
            return self  # it copies
        options = list(self.options)
        if "--threads" in options:
            place = options.index("--threads")
            threads = int(options[place + 1])
            del options[place : place + 2]
        return replace(self, options=(*options, "--threads", str(max(1, threads // parts))))

    @property
    def title(self) -> str:
        """What is done, for people."""
        return "training" if self.trains else self.phase.title


def model_name(settings: Settings, source_name: str | None, model: Path) -> str:
    """`--name`, else `model.name`, else the model's folder (Ultralytics' `train/weights/best.pt` is `train`).

    `model` may be what a training is begun with: a data.yaml, or the folder of a classification, which gives the name.

    Raises InputError where documents cannot hold the name.
    """
    folder = look.real(model) if look.is_folder(model) else look.real(model).parent
    own = folder.parent.name if folder.name == "weights" else folder.name
    given = settings["name"] or source_name
    return names.model_name(given or own or "model", given=bool(given))


def out_folder(settings: Settings, name: str) -> Path:
    """The folder that holds the run's packages."""
    chosen: Path | None = settings["out"]
    return chosen if chosen is not None else BUILD / names.folder_name(name)


def _shared(settings: Settings) -> list[str]:
    options = ["--conf", str(settings["conf"]), "--iou", str(settings["iou"])]
    options += ["--max-detections", str(settings["max_detections"])]
    return options + (["--threads", str(settings["threads"])] if settings["threads"] else [])


def _optional(*pairs: tuple[str, Path | None]) -> tuple[tuple[str, Path], ...]:
    return tuple((flag, path) for flag, path in pairs if path is not None)


def kept_beside(previous: Path | None, phase: Phase) -> tuple[tuple[str, Path], ...]:
    """The phase's evaluation and results, which lie beside its record where they were kept."""
    if previous is None:
        return ()
    results = (("--results", previous.with_name(phase.results)),) if phase is ONNX else ()  # only rknn asks for them
    return ("--evaluation", previous.with_name(phase.evaluation)), *results


def trust(settings: Settings) -> tuple[list[str], tuple[tuple[str, Path], ...]]:
    """The flags and the folder with which a stage unpickles a checkpoint, or makes its network by its own code."""
    code: Path | None = settings["model_code"]
    trusted = settings["trust_checkpoint"] or code is not None or settings["model"]
    flags = ["--trust-checkpoint"] if trusted else []
    flags += [f"--model={settings['model']}"] if settings["model"] else []
    return flags, _optional(("--model-code", code))


def trusts(settings: Settings) -> bool:
    """Whether the run may execute the checkpoint's own code."""
    return bool(trust(settings)[0])


def _unchecked(settings: Settings) -> list[str]:
    return ["--contract-check", "off"] if settings["contract_check"] == "off" else []


def evaluation_images(dataset: Dataset | None) -> tuple[Path, ...]:
    """The labelled images that every phase is measured on: the validation split."""
    return dataset.splits.get("val", ()) if dataset else ()


def rknn_images(dataset: Dataset | None, count: int | None) -> tuple[Path, ...]:
    """What phase 3 reads: the images that are measured, and those that INT8's calibration is chosen from."""
    pool = calibration_pool.pool(dataset, max(calibration_pool.MOST, count or 0)) if dataset else ()
    return (*evaluation_images(dataset), *pool)


def gates(settings: Settings, phase: Phase) -> list[str]:
    """The flags for the limits that the phase's gates have by setting; a board's speed is gated when it is merged."""
    chosen = [one for one in settings["gates"] if one.key in KEYS[phase.name] and one.metric != SPEEDUP]
    return [word for one in chosen for word in ("--gate", str(one))]


def pt_step(pt: Path, name: str, settings: Settings, dataset: Dataset | None, out: Path) -> Step:
    """Phase 1: take the checkpoint as it is and measure its baseline."""
    options = [*([] if settings["source"] else [f"--name={name}"]), *_shared(settings)]
    if settings["imgsz"]:
        options += ["--imgsz", ",".join(str(side) for side in settings["imgsz"])]
    flags, code = trust(settings)
    options += [*flags, *_unchecked(settings)]
    inputs = (("--pt", pt), *_optional(("--source", settings["source"]), ("--data", settings["data"])), *code)
    return Step("pt", PT, inputs, tuple(options), evaluation_images(dataset), out / PT.package)


def train_step(
    config: Path, given: Path | None, name: str, settings: Settings, dataset: Dataset, out: Path, *, anew: bool
) -> Step:
    """Phase 1 with a training before it; `given` is the checkpoint or YAML that it begins from, where it is a file."""
    inputs = (("--train", config), ("--data", settings["data"]), *_optional(("--pt", given)))
    images = (*dataset.splits.get("train", ()), *evaluation_images(dataset))
    return Step("pt", PT, inputs, (f"--name={name}", *_shared(settings)), images, out / PT.package, anew)


def onnx_step(
    pt: Path, source: Path, previous: Path | None, settings: Settings, dataset: Dataset | None, out: Path
) -> Step:
    """Phase 2: export and compare with phase 1."""
    flags, code = trust(settings)
    options = ["--opset", str(settings["opset"]), *([] if settings["simplify"] else ["--no-simplify"]), *flags]
    options += gates(settings, ONNX)
    inputs = (
        ("--pt", pt),
        ("--source", source),
        *_optional(("--previous", previous), ("--data", settings["data"]), ("--dataset", settings["dataset"])),
        *kept_beside(previous, PT),
        *code,
    )
    images = evaluation_images(dataset)
    return Step("onnx", ONNX, inputs, (*options, *_shared(settings)), images, out / ONNX.package)


def rknn_steps(
    onnx: Path, source: Path, previous: Path | None, settings: Settings, dataset: Dataset | None, out: Path
) -> tuple[Step, ...]:
    """Phase 3, once for each target; the package lies in the target's own folder when there are several.

    Targets that share a build are built once: the first one's package is an input of the others.
    """
    inputs = (
        ("--onnx", onnx),
        ("--source", source),
        *_optional(("--previous", previous), ("--data", settings["data"]), ("--dataset", settings["dataset"])),
        *kept_beside(previous, ONNX),
    )
    options = [*gates(settings, RKNN), "--dtype", settings["dtype"], "--algorithm", settings["algorithm"]]
    options += ["--optimization-level", str(settings["optimization_level"])]
    options += ["--tune", settings["tune"]]
    options += ["--tune-budget", f"{settings['tune_budget']:g}s"] if settings["tune_budget"] else []
    options += [f"--{name}" for name in ("layers", "reproducible") if settings[name]]
    count: int | None = settings["calibration_images"]
    options += [*(["--calibration-images", str(count)] if count else []), *_shared(settings)]
    images = rknn_images(dataset, count)
    several = len(settings["target"]) > 1
    built: dict[str, Path] = {}
    steps = []
    for target in settings["target"]:
        package = (out / target if several else out) / RKNN.package
        name, first = f"rknn {target}" if several else "rknn", built.setdefault(TARGETS[target].build, package)
        if first == package:
            steps.append(Step(name, RKNN, inputs, ("--target", target, *options), images, package))
        else:  # another chip's package is taken: nothing is built or measured again
            taken = (("--onnx", onnx), ("--source", source), ("--shared", first))
            steps.append(Step(name, RKNN, taken, ("--target", target), (), package))
    return tuple(steps)


def given_step(onnx: Path, name: str, settings: Settings, dataset: Dataset | None, out: Path) -> Step:
    """Phase 2 on an ONNX file of somebody else's: cut its head and compare with the file as it came."""
    source = settings["source"]
    options = [*([] if source else [f"--name={name}"]), *([] if settings["simplify"] else ["--no-simplify"])]
    options += [*gates(settings, ONNX), *_unchecked(settings)]
    inputs = (
        ("--onnx", onnx),
        *_optional(("--source", source), ("--data", settings["data"]), ("--dataset", settings["dataset"])),
    )
    images = evaluation_images(dataset)
    return Step("onnx", ONNX, inputs, (*options, *_shared(settings)), images, out / ONNX.package)


def run_given_steps(onnx: Path, name: str, settings: Settings, dataset: Dataset | None, out: Path) -> tuple[Step, ...]:
    """The way of an ONNX file of somebody else's: ONNX, RKNN for every target."""
    return given_step(onnx, name, settings, dataset, out), *_after_onnx(settings, dataset, out)


def run_steps(pt: Path, name: str, settings: Settings, dataset: Dataset | None, out: Path) -> tuple[Step, ...]:
    """The whole way: PyTorch, ONNX, RKNN for every target."""
    return after_pt(pt_step(pt, name, settings, dataset, out), settings, dataset, out)


def after_pt(first: Step, settings: Settings, dataset: Dataset | None, out: Path) -> tuple[Step, ...]:
    """The whole way behind a first step, which takes a checkpoint or trains one."""
    files = (first.package / PT.artefacts[0], first.package / PT.source, first.package / PT.performance)
    return first, onnx_step(*files, settings, dataset, out), *_after_onnx(settings, dataset, out)


def _after_onnx(settings: Settings, dataset: Dataset | None, out: Path) -> tuple[Step, ...]:
    package = out / ONNX.package
    files = (package / "best.onnx", package / ONNX.source, package / ONNX.performance)
    return rknn_steps(*files, settings, dataset, out)


def check_targets(steps: tuple[Step, ...], existing: dict[Path, str]) -> None:
    """Refuse to write a package over another target's; `existing` maps package folders to their target."""
    for step in steps:
        if step.phase is not RKNN or step.package not in existing:
            continue
        target, there = step.target, existing[step.package]
        if there != target:
            raise InputError(
                f"{step.package} holds a package for {there}, and this run is for {target}.",
                remedy=f"Give --out another folder, or name all targets at once: --target {there} --target {target}.",
                kind="target",
            )


def check_inputs(settings: Settings, dataset: Dataset | None) -> None:
    """What the options cannot mean together."""
    if not settings["target"]:
        raise InputError("No target is given.", remedy="Add --target, for example --target rk3588.")
    images = settings["dataset"] is not None or bool(dataset and dataset.splits.get("train"))
    integers = [target for target in settings["target"] if TARGETS[target].fp16]
    if not images and (settings["dtype"] == "int8" or integers):
        who = "--dtype int8" if settings["dtype"] == "int8" else f"{', '.join(integers)} runs INT8 only, which"
        raise InputError(
            f"{who} needs images for calibration, and none are given.",
            remedy="Add --data data.yaml (its training split is used) or --dataset list.txt.",
        )
