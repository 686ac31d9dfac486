"""Which images of a training split are looked at for calibration: a few hundred, with every class among them.

The same ones on every machine: they are taken in the order of a hash of their names, and a dataset that grows changes
few of them. The orchestrator asks too, because a package is fresh as long as these images are the same.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mcwbuild.contract.dataset import Dataset, label_of

MOST = 256  # images that are looked at: decoding them small takes about a second
LABELS_READ = 2048  # label files that are read to find the classes: a fraction of a second
_MAX_BYTES = 1 << 20  # of a label file: more than any image has objects


def pool(found: Dataset, most: int = MOST) -> tuple[Path, ...]:
    """At most `most` images of the training split, as many of each class as there are, in a fixed order."""
    train = found.splits.get("train", ())
    if len(train) <= most:
        return train
    sample = sorted(train, key=lambda image: _key(image, found.root))[: max(LABELS_READ, most)]
    order = stratified(classes_of(found, sample), lambda places: places[0])
    return tuple(sample[place] for _, place in zip(range(most), order, strict=False))


def classes_of(found: Dataset, images: Sequence[Path]) -> tuple[frozenset[str], ...]:
    """The classes in each image of the training split: of its labels, its folder, or the characters of its text.

    Empty for background, and where a label file cannot be read: what is wrong with it is for others to tell.
    """
    if found.by_folder:
        return tuple(frozenset((image.parent.name,)) for image in images)
    if found.texts:
        written = {line.image: frozenset(line.text) for line in found.texts.get("train", ())}
        return tuple(written.get(image, frozenset()) for image in images)
    return tuple(_labelled(label_of(image)) for image in images)


def stratified(classes: Sequence[frozenset[str]], prefer: Callable[[list[int]], int]) -> Iterator[int]:
    """All places of `classes`, so that every beginning holds all classes about equally often.

    Each time the class that came least, of those that have images left, gives one; `prefer` chooses it among their
    places, in order. Images without a class count as a class of their own.
    """
    members: dict[str, dict[int, None]] = {}
    for place, held in enumerate(classes):
        for name in held or ("",):
            members.setdefault(name, {})[place] = None
    came: Counter[str] = Counter()
    rarest_first = sorted(members, key=lambda name: (len(members[name]), name))
    while left := [name for name in rarest_first if members[name]]:
        place = prefer(list(members[min(left, key=lambda name: came[name])]))
        for name in classes[place] or ("",):
            del members[name][place]
            came[name] += 1
        yield place


def _key(image: Path, root: Path) -> bytes:
    name = image.relative_to(root) if image.is_relative_to(root) else image
    return hashlib.sha256(name.as_posix().encode("utf-8", "surrogateescape")).digest()


def _labelled(label: Path) -> frozenset[str]:
    """The first word of every line."""
    try:
        with label.open("rb") as stream:
            lines = stream.read(_MAX_BYTES).splitlines()
    except OSError:
        return frozenset()
    return frozenset(words[0].decode("ascii", "replace") for line in lines if (words := line.split(maxsplit=1)))
