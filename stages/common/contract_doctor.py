"""Whether the contract itself is wrong: the same network on the same labelled images, with one of its values changed.

A network that was trained on blue-green-red images and gets red-green-blue ones still finds something, only less; no
comparison of phases tells, because all of them do the same wrong thing. Here each value that people get wrong is
exchanged for the usual others. It speaks only where accuracy rises by what matters and the paired interval of the
rise excludes nothing at all, corrected for the number of tries (Bonferroni): of sound contracts, at most
one in twenty may be doubted by chance.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mcwbuild.contract.bench import Bench
from mcwbuild.contract.performance import Check, main_metric
from stages.common import bootstrap
from stages.common.bootstrap import Interval
from stages.common.evaluate import Decode, Evaluation, Runner, Settings, evaluate
from stages.common.findings import Finding, Name, tell
from stages.common.image_set import ImageSet, spread
from stages.common.per_image import PerImage, only

NAME = "contract check"
LEAST_GAIN = 0.02  # of a metric from 0 to 1: less may be a matter of taste, as another padding is
LEAST_SIZE_GAIN = 0.1  # of another size or way to it: networks often gain a little where objects become larger
_OF_SIZE = ("input.size", "preprocessing.resize.method")
MOST_IMAGES = 64
SCREENED = 16  # images that tell whether a try is worth the others; fewer in all tell nothing
_GLANCE, _CLEAR_LOSS = 8, 0.05  # images that tell a clear loss, which most tries are
FALSE_ALARMS = 0.05  # of sound contracts, at most
_SAMPLES = 4000  # the ends of a Bonferroni interval lie far out
_FORMATS = {"RGB": "BGR", "BGR": "RGB"}
_COLOURS = ([114, 114, 114], [0, 0, 0], [255, 255, 255])  # Ultralytics' grey, black, white
_POSITIONS = ("center", "top_left", "bottom_right")
_METHODS = ("letterbox", "direct", "center_crop")
_NORMALS = (  # mean and std in 0..255 units: YOLO's, none, ImageNet's, -1 to 1
    ([0.0] * 3, [255.0] * 3),
    ([0.0] * 3, [1.0] * 3),
    ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
    ([127.5] * 3, [127.5] * 3),
)
_SCALES = (0.5, 0.75, 1.5)  # of the input size; twice as large costs four times as much, and 1.5 tells as well
_PADS = ("letterbox", "resize_pad")
_FINDINGS: dict[str, Name] = {  # value of the contract -> what its being wrong is called
    "input.format": "channel-order",
    "preprocessing.normalize": "normalization",
    "preprocessing.resize.method": "resize-method",
    "preprocessing.padding.color": "padding",
    "preprocessing.padding.position": "padding",
    "input.size": "input-size",
}


@dataclass(frozen=True)
class Try:
    """One value of the contract exchanged: its name, what that means in words, and the whole contract."""

    name: str
    value: Any
    words: str
    contract: dict[str, Any]

    @property
    def least(self) -> float:
        """The gain from which on it is worth a word."""
        return LEAST_SIZE_GAIN if self.name in _OF_SIZE else LEAST_GAIN


@dataclass(frozen=True)
class Tried:
    """What came of it on so many images; no interval where the first images showed no gain."""

    what: Try
    images: int
    before: float
    after: float
    interval: Interval | None = None

    @property
    def gain(self) -> float:
        """How far accuracy rises."""
        return self.after - self.before

    @property
    def speaks(self) -> bool:
        """Whether the contract is doubted."""
        return self.interval is not None and self.interval.low > 0 and self.gain >= self.what.least


@dataclass(frozen=True)
class Diagnosis:
    """Everything that was tried, or why nothing was. `metric` is the task's."""

    metric: str
    tried: tuple[Tried, ...] = ()
    reason: str = ""

    @property
    def doubt(self) -> Tried | None:
        """The change with which accuracy rises most, where any speaks; another one is best told when it is mended."""
        return max((one for one in self.tried if one.speaks), key=lambda one: one.gain, default=None)


@dataclass(frozen=True)
class Patient:
    """What is examined: the network as a runner under any contract, with its decoder, and its own evaluation.

    `file` is the document that holds the contract. `stride`: the input's sides may be any multiples of it; None where
    the network takes one size only.
    """

    runner: Callable[[Mapping[str, Any]], Runner]
    decode: Decode
    settings: Settings
    evaluation: Evaluation
    file: str
    stride: int | None = None


def examine(patient: Patient, images: ImageSet, contract: Mapping[str, Any], bench: Bench) -> Diagnosis:
    """Try every change on a few of the images, and those that gain on more. Raises InputError as `evaluate` does."""
    metric = main_metric(contract["model"]["task"])
    kept, total = patient.evaluation.per_image, len(images.images)
    if images.labels is None or kept is None:
        return Diagnosis(metric, reason="Nothing is labelled.")
    if bootstrap.value(kept, metric) is None:
        return Diagnosis(metric, reason=f"{metric} is not kept image by image.")
    if total < SCREENED:
        return Diagnosis(metric, reason=f"{total} labelled images are too few; {SCREENED} are the least.")
    changes = tries(contract, patient.stride)
    level = 1 - FALSE_ALARMS / max(len(changes), 1)
    done = []
    with bench.step(NAME, f"{len(changes)} other contracts on {_GLANCE} to {min(total, MOST_IMAGES)} images") as step:
        for number, change in enumerate(changes, 1):
            done.append(_tried(change, patient, images, kept, metric, level))
            step.progress(number, len(changes))
        found = Diagnosis(metric, tuple(done))
        step.result = f"{found.doubt.what.name} is doubtful" if found.doubt else "none is better"
    tell(findings(found, patient.file), bench)
    return found


def _tried(change: Try, patient: Patient, images: ImageSet, kept: PerImage, metric: str, level: float) -> Tried:
    """On a few images first, and on more as long as it may be worth a word."""
    for count, least in ((_GLANCE, -_CLEAR_LOSS), (SCREENED, change.least / 2), (MOST_IMAGES, change.least / 2)):
        places = list(spread(len(images.images), count))
        made, after = _compared(change, patient, images, kept, metric, places)
        if after is None or made.gain < least:
            return made
        if len(places) == len(images.images):
            break
    assert after is not None
    found = bootstrap.interval(only(kept, places), after, metric, bootstrap.gain, level, _SAMPLES)
    return replace(made, interval=found) if isinstance(found, Interval) else made


def _compared(
    change: Try, patient: Patient, images: ImageSet, kept: PerImage, metric: str, places: list[int]
) -> tuple[Tried, PerImage | None]:
    after = _evaluated(change, patient, images, places)
    sides = (only(kept, places), after)
    values = [None if side is None else bootstrap.value(side, metric) for side in sides]
    before, then = (0.0 if value is None or not math.isfinite(value) else value for value in values)
    return Tried(change, len(places), before, then), after


def _evaluated(change: Try, patient: Patient, images: ImageSet, places: Sequence[int]) -> PerImage | None:
    """These images under the changed contract, image by image; None where none of them has an object."""
    assert images.labels is not None
    return evaluate(
        patient.runner(change.contract),
        patient.decode,
        [images.images[place] for place in places],
        [images.labels[place] for place in places],
        change.contract,
        replace(patient.settings, warmup=0, timed=0),
    ).per_image


def tries(contract: Mapping[str, Any], stride: int | None) -> list[Try]:
    """The usual other values of each part of the contract that says how an image becomes the input."""
    made: list[Try] = []

    def change(name: str, value: Any, words: str, **beside: Any) -> None:
        other = copy.deepcopy(dict(contract))
        for path, new in {name: value, **{key.replace("__", "."): new for key, new in beside.items()}}.items():
            *above, last = path.split(".")
            part = other
            for key in above:
                part = part[key]
            part[last] = new
        made.append(Try(name, value, words, other))

    source, preparation = contract["input"], contract["preprocessing"]
    method, padding, normal = preparation["resize"]["method"], preparation["padding"], preparation["normalize"]
    if source["format"] in _FORMATS:
        other = _FORMATS[source["format"]]
        change("input.format", other, f"the images are {other}")
    if source["channels"] == 3:
        now = (normal["mean"], normal["std"]) if normal["enabled"] else _NORMALS[1]
        for mean, std in _NORMALS:
            if (mean, std) != tuple([float(part) for part in side] for side in now):
                value = {"enabled": True, "mean": mean, "std": std}
                change("preprocessing.normalize", {**normal, **value}, f"their mean is {mean} and std {std}")
    for other in _METHODS:
        if other != method and not (other == "letterbox" and method in _PADS) and _sensible(other, contract):
            beside = {"preprocessing__padding": _padded(padding)} if other in _PADS else {}
            change("preprocessing.resize.method", other, f"they are resized by {other}", **beside)
    if method in _PADS:
        for colour in _COLOURS:
            if source["channels"] == 3 and list(padding["color"]) != colour:
                change("preprocessing.padding.color", colour, f"the padding is {colour}")
        for position in _POSITIONS:
            if position != padding["position"]:
                change("preprocessing.padding.position", position, f"the image lies {position} in its padding")
    for size in _sizes(source["size"], stride):
        change("input.size", size, f"the input is {size[0]} x {size[1]}")
    return made


def _sensible(method: str, contract: Mapping[str, Any]) -> bool:
    """A centre crop throws objects away: nobody trains a detector so."""
    return method != "center_crop" or contract["model"]["task"] == "classification"


def _padded(padding: Mapping[str, Any]) -> dict[str, Any]:
    return {**padding, "enabled": True, "color": _COLOURS[0], "position": _POSITIONS[0]}


def _sizes(size: Sequence[int], stride: int | None) -> list[list[int]]:
    if stride is None:
        return []
    found = [[max(round(side * scale / stride), 1) * stride for side in size] for scale in _SCALES]
    return [one for number, one in enumerate(found) if one != list(size) and one not in found[:number]]


def findings(found: Diagnosis, file: str) -> list[Finding]:
    """What is doubted; `file` is the document that holds the contract."""
    one = found.doubt
    if one is None or one.interval is None:
        return []
    return [
        Finding(
            _FINDINGS[one.what.name],
            f"{in_words(found)[0]} in {file} is probably wrong.",
            f"{one.images} images were measured again with one value changed; {len(found.tried)} changes were tried.",
            f"Look how the network was trained; set {one.what.name} in {file} and start again with --source.",
            {
                "field": one.what.name,
                "better": one.what.value,
                "metric": found.metric,
                "images": one.images,
                "before": round(one.before, 6),
                "after": round(one.after, 6),
                "gain_interval": [round(one.interval.low, 6), round(one.interval.high, 6)],
            },
        )
    ]


def in_words(found: Diagnosis) -> list[str]:
    """What speaks against the contract, up to the name of the value; nothing where nothing does."""
    one = found.doubt
    if one is None or one.interval is None:
        return []
    low, high = one.interval.low, one.interval.high
    rise = f"rises from {one.before:.2f} to {one.after:.2f} ({low:+.2f} to {high:+.2f})"
    return [f"Accuracy ({found.metric}) {rise} when {one.what.words}: {one.what.name}"]


def check(found: Diagnosis) -> Check:
    """The diagnosis among a record's checks: a doubt fails nothing, it is for people to decide."""
    if found.reason:
        return Check(NAME, "unmeasured", found.reason)
    if found.doubt:
        return Check(NAME, "undecided", f"{found.doubt.what.name} is doubtful: see issues.")
    return Check(NAME, "passed", f"None of {len(found.tried)} other contracts is clearly better.")


def history(found: Diagnosis) -> list[dict[str, Any]]:
    """Every try, as entries of a record's `tuning_history`."""
    return [
        {
            "contract": {one.what.name: one.what.value},
            "metric": found.metric,
            "images": one.images,
            "before": round(one.before, 6),
            "after": round(one.after, 6),
            "interval": None if one.interval is None else [round(one.interval.low, 6), round(one.interval.high, 6)],
            "level": None if one.interval is None else round(one.interval.level, 6),
        }
        for one in found.tried
    ]
