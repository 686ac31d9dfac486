"""The images that a phase measures on: a labelled dataset, a list, or generated ones where nothing was given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mcwbuild.contract import dataset, fingerprints, transcripts
from mcwbuild.contract.errors import ContractBroken, InputError, Problem
from mcwbuild.contract.marks import shown
from stages.common.evaluate import Picture, prepared_images
from stages.common.ground_truth import Labels, check_image, data_error
from stages.common.labels import labels_of
from stages.common.text_labels import read_texts

COMPARED_IMAGES = 16  # for tensors side by side: the figures settle after a few
AGREED_IMAGES = 32  # where nothing is labelled: agreement in results, all that there is then, takes more
_SPLITS = ("val", "test")
_KINDS = {"classification": "folders", "ocr": "texts"}  # every other task's are label files
_HOLDS = {
    "folders": "folders of classes",
    "texts": "lists of images with texts",
    "labels": "a data.yaml with label files",
}
_WANTED = {
    "folders": "the folder with train/<class>/ and val/<class>/",
    "texts": "the folder with train.txt and val.txt, in each line an image, a tab and its text,",
    "labels": "the data.yaml",
}
_SEED = 20240229
_COARSE = 12  # cells along the longer side of a generated image: large smooth areas with edges, as photographs have


@dataclass(frozen=True)
class ImageSet:
    """Images (never none), their labels where there are any, and how a performance record names them.

    `record` is `test_configuration.dataset`, or None with its `reason`; of text recognition `texts` is what stands in
    the images.
    """

    source: Literal["dataset", "list", "generated"]
    images: tuple[Picture, ...]
    labels: tuple[Labels, ...] | None
    record: dict[str, Any] | None
    reason: str
    texts: tuple[str, ...] = ()

    def prepared(self, contract: Mapping[str, Any], count: int = COMPARED_IMAGES) -> Iterator[NDArray[np.uint8]]:
        """At most `count` prepared images, uint8 [H, W, C], evenly spread over the set."""
        return prepared_images([self.images[index] for index in spread(len(self.images), count)], contract)

    @property
    def compared(self) -> int:
        """How many images phases are compared on."""
        return min(len(self.images), compared_images(self.labels is not None))

    @property
    def configuration(self) -> dict[str, Any]:
        """`dataset` and, where it is null, `dataset_reason` of a record's `test_configuration`."""
        return {"dataset": self.record, **({} if self.record else {"dataset_reason": self.reason})}


def compared_images(labelled: bool) -> int:
    """How many images two phases are compared on, at most."""
    return COMPARED_IMAGES if labelled else AGREED_IMAGES


def open_images(data: Path | None, listing: Path | None, contract: Mapping[str, Any]) -> ImageSet:
    """The images to measure on: the `val` (else `test`) split of `data`, else the list, else generated ones.

    Raises InputError with everything that is wrong with files and labels, ContractBroken where the dataset's class
    names are not the contract's.
    """
    if data is not None:
        return _labelled(data, contract)
    if listing is not None:
        return _listed(listing)
    drawn = tuple(generated(contract["input"]["size"], COMPARED_IMAGES))
    return ImageSet("generated", drawn, None, None, "Neither a dataset nor a list of images was given.")


def _labelled(data: Path, contract: Mapping[str, Any]) -> ImageSet:
    found = dataset.read(data)
    match_task(found, contract["model"]["task"])
    if found.names or not found.texts:
        match_names(found, contract["classes"]["names"])
    split = next((name for name in _SPLITS if name in found.splits), None)
    if split is None:
        raise InputError(
            f"{data} has no images to measure on.",
            f"It names neither {' nor '.join(_SPLITS)}.",
            "Add `val: <folder of images>` to it.",
            kind="dataset",
            problems=[Problem("there is no val split", str(data))],
        )
    images = found.splits[split]
    lines = found.texts.get(split, ())
    labels = read_texts(lines, contract["classes"]["names"]) if lines else labels_of(images, contract)
    record = _record(data, split, images, found.root, labelled=True)
    if lines:
        record["sha256"] = transcripts.fingerprint(lines, record["sha256"])
    return ImageSet("dataset", images, labels, record, "", tuple(made.text for made in lines))


def read_listed(listing: Path) -> tuple[dataset.Listed, ...]:
    """The images of a list. Raises InputError with every line that names no whole image file."""
    listed, problems = dataset.examine_list(listing)
    for image, line in listed:
        for problem in check_image(image):
            if line is not None:
                problem = Problem(f"{shown(image.name)}: {problem.message}", str(listing), line)
            problems.append(problem)
    if problems:
        raise data_error(sorted(problems, key=lambda problem: problem.line or 0))
    return listed


def _listed(listing: Path) -> ImageSet:
    images = tuple(image for image, _ in read_listed(listing))
    return ImageSet("list", images, None, _record(listing, None, images, listing.parent, labelled=False), "")


def _record(file: Path, split: str | None, images: Sequence[Path], root: Path, *, labelled: bool) -> dict[str, Any]:
    return {
        "file": file.name,
        "split": split,
        "images": len(images),
        "labels": labelled,
        "sha256": fingerprints.fingerprint(images, root),
    }


def match_task(found: dataset.Dataset, task: str) -> None:
    """Raise InputError where the dataset is of another kind than the task's; a generic network has none."""
    if task == "generic":
        raise InputError(
            "A generic network has no labels.",
            f"{found.file} is a labelled dataset, and nothing says what they mean to it.",
            "Give images with --dataset list.txt instead.",
            kind="dataset",
        )
    kind = "folders" if found.by_folder else "texts" if found.texts else "labels"
    if kind == _KINDS.get(task, "labels"):
        return
    holds, wanted = _HOLDS[kind], _WANTED[_KINDS.get(task, "labels")]
    message = f"the model's task is {task}, and this is {holds}"
    raise InputError(
        f"{found.file} is not a dataset for this model.",
        f"{message[0].upper()}{message[1:]}.",
        f"Give {wanted} that it was trained with.",
        kind="dataset",
        problems=[Problem(message, str(found.file))],
    )


def match_names(found: dataset.Dataset, names: Sequence[str]) -> None:
    """Raise ContractBroken unless the dataset's class names are `names`, in the same order."""
    theirs, ours = list(found.names), list(names)
    if theirs == ours:
        return
    place = next(
        (number for number, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours))
    )
    a, b = (repr(given[place]) if place < len(given) else "absent" for given in (theirs, ours))
    counts = "" if len(theirs) == len(ours) else f" ({len(theirs)} classes there, {len(ours)} in the contract)"
    message = f"class {place} is {a} in {found.file} but {b} in the contract{counts}"
    raise ContractBroken(
        "The dataset's class names are not the contract's.",
        message[0].upper() + message[1:] + ".",
        "Give the dataset that belongs to the model; names count in their order.",
        kind="class-names",
        problems=[Problem(message, str(found.file), path="$.names")],
    )


def spread(total: int, count: int) -> range | list[int]:
    """The places of `count` of `total` things, evenly spread, always the same ones; all where there are no more."""
    return range(total) if count >= total else [index * total // count for index in range(count)]


def generated(size: Sequence[int], count: int) -> Iterator[NDArray[np.uint8]]:
    """`count` images of `size` [H, W], uint8 [H, W, 3], the same every time: coloured areas and grain."""
    height, width = size
    random = np.random.default_rng(_SEED)
    for _ in range(count):
        coarse = random.integers(0, 256, (_COARSE, _COARSE, 3), np.uint8)
        way = cv2.INTER_NEAREST if random.random() < 0.5 else cv2.INTER_CUBIC
        grain = random.normal(0, 4, (height, width, 3))
        yield np.clip(cv2.resize(coarse, (width, height), interpolation=way) + grain, 0, 255).astype(np.uint8)
