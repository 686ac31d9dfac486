"""The example's network under wrong contracts, for the doctor: in the pt phase's environment.

What the network gives for an image under a contract is computed once: a campaign draws its images again and again.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mcwbuild.contract import inherit
from mcwbuild.contract.bench import Bench
from stages.common.contract_doctor import Diagnosis, Patient, examine
from stages.common.evaluate import Settings, evaluate
from stages.common.image_set import ImageSet, open_images
from stages.families.opened import Wanted, of_checkpoint, read_inertly
from stages.families.source import generate
from stages.pt.torch_runner import TorchRunner

SOURCE = "training_source.yaml"
EXAMPLE = Path(__file__).parents[2] / "examples" / "shapes"
SETTINGS = Settings(confidence=0.25, iou=0.7, max_detections=300, threads=1, warmup=0)
_NORMAL = "preprocessing.normalize"
IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
PLANTED: dict[str, dict[str, Any]] = {  # kind -> the values of the contract that are made wrong
    "sound": {},
    "colours": {"input.format": "BGR"},
    "normalization": {f"{_NORMAL}.{key}": value for key, value in IMAGENET.items()},
    "signed": {f"{_NORMAL}.mean": [127.5] * 3, f"{_NORMAL}.std": [127.5] * 3},
    "padding": {"preprocessing.padding.color": [0, 0, 0]},
    "method": {"preprocessing.resize.method": "direct"},
    "too small": {"input.size": [128, 128]},
    "too large": {"input.size": [512, 512]},
    "position": {"preprocessing.padding.position": "top_left"},
}


@dataclass
class Remembering:
    """The network under one contract: its feed is the image's number, its output a number of what it remembers."""

    network: Network
    contract: Mapping[str, Any]
    device: Mapping[str, Any] = field(default_factory=dict)

    def feed(self, prepared: np.ndarray) -> np.ndarray:
        return prepared

    def run(self, feed: np.ndarray) -> list[np.ndarray]:
        key = (inherit.canonical(self.contract), feed.tobytes())
        return [np.array([self.network.number(key, feed, self.contract)], np.float32)]


class Network:
    """The example's checkpoint, and what it was asked already."""

    def __init__(self) -> None:
        checkpoint, self.family = read_inertly(EXAMPLE / "best.pt")
        self.contract = inherit.critical(generate(of_checkpoint(checkpoint, self.family), Wanted("shapes")))
        self.cut, self.head = self.family.cut(self.family.build(checkpoint))
        self.images = open_images(EXAMPLE / "data.yaml", None, self.contract)
        self._known: dict[Any, int] = {}
        self._candidates: list[dict[float, Any]] = []
        torch.set_num_threads(SETTINGS.threads)

    def number(self, key: Any, prepared: np.ndarray, contract: Mapping[str, Any]) -> int:
        """Where the image's candidates stand; computed where they are not known yet."""
        if key not in self._known:
            runner = TorchRunner(self.cut, contract, SETTINGS.threads)
            outputs = runner.run(runner.feed(prepared))
            levels = (0.001, SETTINGS.confidence)  # the evaluator's, and the deployed one
            self._candidates.append({level: self.family.decode(outputs, self.head, level) for level in levels})
            self._known[key] = len(self._known)
        return self._known[key]

    def decode(self, outputs: Sequence[np.ndarray], confidence: float) -> Any:
        return self._candidates[int(outputs[0][0])][confidence]

    def wrong(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The contract with these values."""
        made = copy.deepcopy(self.contract)
        for path, value in values.items():
            *above, last = path.split(".")
            part: Any = made
            for key in above:
                part = part[key]
            part[last] = value
        return made

    def diagnose(self, kind: str, places: Sequence[int], bench: Bench) -> Diagnosis:
        """What the doctor says of the planted contract on these images."""
        contract = self.wrong(PLANTED[kind])
        assert self.images.labels is not None
        chosen = ImageSet(
            "dataset",
            tuple(self.images.images[place] for place in places),
            tuple(self.images.labels[place] for place in places),
            None,
            "",
        )
        runner = Remembering(self, contract)
        found = evaluate(runner, self.decode, chosen.images, chosen.labels, contract, SETTINGS)
        patient = Patient(
            lambda other: Remembering(self, other), self.decode, SETTINGS, found, SOURCE, max(self.head["strides"])
        )
        return examine(patient, chosen, contract, bench)


def expected(kind: str) -> str | None:
    """The name that the doctor has to say; None of a sound contract."""
    path = next(iter(PLANTED[kind]), None)
    return _NORMAL if path and path.startswith(_NORMAL) else path


def main() -> None:
    """`doctored.py SEED TRIALS IMAGES`: of each kind, how often which name was said, as JSON lines."""
    seed, trials, images = (int(word) for word in sys.argv[1:])
    network = Network()
    bench = Bench(Path.cwd(), Path.cwd(), SETTINGS.threads, lambda event: None)
    for kind in PLANTED:
        said: dict[str, int] = {}
        for number in range(trials):
            random = np.random.default_rng([seed, number])
            places = random.choice(len(network.images.images), images, replace=False).tolist()
            doubt = network.diagnose(kind, places, bench).doubt
            name = "silent" if doubt is None else doubt.what.name
            said[name] = said.get(name, 0) + 1
        print(json.dumps({"kind": kind, "right": expected(kind) or "silent", "said": said}), flush=True)


if __name__ == "__main__":
    main()
