"""The dataset as the trainer sees it: a private folder of links, so that nothing is written beside the user's images.

Ultralytics reads `labels.cache` beside the labels, which is a pickle that anybody may have put there, writes one, and
rewrites JPEG files whose last bytes it does not like. In a folder of ours it finds and changes none of the user's.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from mcwbuild.contract import dataset, documents
from mcwbuild.contract.dataset import Dataset
from stages.common.dataset_check import SPLITS

_END_OF_JPEG = b"\xff\xd9"


def lay_out(found: Dataset, folder: Path) -> Path:
    """Link every image and label file of the train and val splits below `folder`; returns the data.yaml there."""
    for split in SPLITS:
        images, labels = folder / "images" / split, folder / "labels" / split
        for place in (images, labels):
            place.mkdir(parents=True)
        for number, image in enumerate(found.splits[split]):
            _place(image.absolute(), images / f"{number:07}{image.suffix.lower()}")
            label = dataset.label_of(image).absolute()
            if label.is_file():
                (labels / f"{number:07}.txt").symlink_to(label)
    splits = {split: f"images/{split}" for split in SPLITS}
    documents.write_yaml(folder / "data.yaml", {"path": str(folder), **splits, "names": list(found.names)})
    return folder / "data.yaml"


def _place(image: Path, place: Path) -> None:
    """A link; a copy of a JPEG that the trainer would write anew, because more follows behind its end."""
    if image.suffix.lower() in (".jpg", ".jpeg") and _tail(image) != _END_OF_JPEG:
        shutil.copyfile(image, place)
    else:
        place.symlink_to(image)


def _tail(image: Path) -> bytes:
    with image.open("rb") as file:
        file.seek(-len(_END_OF_JPEG), 2)
        return file.read()
