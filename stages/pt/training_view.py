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
from stages.common.dataset_folders import class_of

_END_OF_JPEG = b"\xff\xd9"


def lay_out(found: Dataset, folder: Path) -> Path:
    """Link every image and label file of the train and val splits below `folder`; returns the data.yaml there.

    Of a classification it is the folder itself.
    """
    if found.by_folder:
        return _lay_out_classes(found, folder)
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
    written = {"path": str(folder), **splits, "names": list(found.names), **found.keypoints}
    documents.write_yaml(folder / "data.yaml", written)
    return folder / "data.yaml"


def _lay_out_classes(found: Dataset, folder: Path) -> Path:
    """The classes' folders are numbered: the library changes some names, and numbers of one length keep the order."""
    for split in SPLITS:
        places = [folder / split / f"class{number:07}" for number in range(len(found.names))]
        for place in places:
            place.mkdir(parents=True)
        for number, image in enumerate(found.splits[split]):
            label, _ = class_of(image, found)
            assert label is not None  # as the survey found
            _place(image.absolute(), places[label] / f"{number:07}{image.suffix.lower()}")
    return folder


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
