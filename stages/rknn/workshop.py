"""One build of a request with given options, from the toolkit's child to a judged outcome."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from mcwbuild import __version__
from mcwbuild.contract.events import Emit
from stages.rknn import build, readback
from stages.rknn.build import Built
from stages.rknn.calibration import Calibration
from stages.rknn.children import Children
from stages.rknn.job import Job, Quantization
from stages.rknn.outcome import Outcome, judged
from stages.rknn.request import Request
from stages.rknn.targets import Variant


@dataclass(frozen=True)
class Workshop:
    """What all builds of a request share: the images that INT8 is calibrated with, the toolkit's children, a scratch
    folder, and the threads of each build.
    """

    asked: Request
    calibrated: Calibration | None
    children: Children
    threads: int
    scratch: Path

    def plain(self, variant: Variant) -> Quantization | None:
        """How the variant is quantized before anything is tuned; None for FP16."""
        if variant == "fp16" or self.calibrated is None:
            return None
        return Quantization(self.asked.algorithm, "channel", len(self.calibrated.images))

    def make(
        self,
        name: str,
        variant: Variant,
        quantization: Quantization | None,
        emit: Emit,
        *,
        prune_below: float | None = None,
        analyse: bool = False,
    ) -> Outcome:
        """Build, measure, read back and judge; the file lies in the scratch folder, in one of the build's `name`.

        `prune_below` and `analyse` are the job's.

        Raises what `build.run` and `readback.read` raise.
        """
        job = replace(self.job(name, variant, quantization), prune_below=prune_below, analyse=analyse)
        # A copy of its own, alone in its folder: an ONNX file can name other files to read, by relative paths.
        alone = Path(job.model)
        alone.parent.mkdir()
        shutil.copyfile(self.asked.model.path, alone)
        built = build.run_without_failing_rules(job, self.children, emit)
        finer = quantization is not None and quantization.mixes
        whole = (built.file, variant, self.asked.model, self.asked.target, _version(built))
        artefact = readback.read(*whole, finer=finer)
        return judged(Outcome(variant, quantization, built, artefact), self.asked)

    def job(self, name: str, variant: Variant, quantization: Quantization | None) -> Job:
        """What the child called `name` is asked."""
        asked = self.asked
        mean, std = asked.model.normalisation
        place = asked.evaluations.get(variant)
        return Job(
            name=name,
            variant=variant,
            model=str(self.scratch / f"{name}-model" / "model.onnx"),
            export=str(self.scratch / name / f"best_{variant}.rknn"),
            platform=asked.target.platform,
            optimization_level=asked.optimization_level,
            quantization=quantization,
            mean=mean,
            std=std,
            custom_string=readback.custom_string(asked.model, __version__),
            calibration=None if quantization is None else str(self._listing(quantization.images)),
            contract=asked.model.contract,
            head=asked.model.head,
            images=tuple(str(image.absolute()) for image in asked.images.images if isinstance(image, Path)),
            labelled=asked.images.labels is not None,
            texts=asked.images.texts,
            confidence=asked.confidence,
            iou=asked.iou,
            max_detections=asked.max_detections,
            threads=self.threads,
            ranges=str(self.scratch / "ranges"),
            kept=str(place.path.absolute()) if place else "",
            left=str(place.earlier.absolute()) if place and place.earlier else "",
        )

    def _listing(self, count: int) -> Path:
        """The toolkit's list of the first `count` of the calibration images: the most telling ones stand first."""
        assert self.calibrated is not None
        whole = self.calibrated.file
        if count >= len(self.calibrated.images):
            return whole
        lines = whole.read_text("ascii").splitlines()
        part = whole.with_name(f"{whole.stem}-{count}.txt")
        part.write_text("".join(f"{line}\n" for line in lines[:count]), "ascii")
        return part


def delivered(outcome: Outcome, folder: Path) -> Outcome:
    """The outcome with its files in `folder`, which is the package's."""
    target = folder / f"best_{outcome.variant}.rknn"
    shutil.copyfile(outcome.built.file, target)
    if outcome.built.measured.expected:
        shutil.copyfile(outcome.built.measured.expected, folder / f"expected_{outcome.variant}.npz")
    return replace(outcome, artefact=replace(outcome.artefact, path=target))


def _version(built: Built) -> str:
    return str(built.measured.device["versions"]["rknn-toolkit2"])
