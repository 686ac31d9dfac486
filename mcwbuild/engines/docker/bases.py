"""The images that stages' images are made from: somebody else's, by digest."""

from __future__ import annotations

from dataclasses import dataclass

from mcwbuild.contract import assets, documents
from mcwbuild.contract.phases import RKNN, Phase

_ROWS = {"BASE_IMAGE": "bookworm"}
_ROWS_OF_RKNN = {"BASE_IMAGE": "focal", "PYTHON_IMAGE": "bullseye"}


GIVEN = "given on the command line"


@dataclass(frozen=True)
class Base:
    """An image of somebody else's: `argument` is the Dockerfile's for it; `seen` says where the digest was read."""

    argument: str
    image: str
    digest: str = ""
    seen: str = ""
    pulled: bool = False

    @property
    def reference(self) -> str:
        """What Docker is asked for: by digest where it is known."""
        return f"{self.image}@{self.digest}" if self.digest else self.image


def bases(phase: Phase, base_image: str | None = None, python_image: str | None = None) -> tuple[Base, ...]:
    """The phase's base images from docker/images.yaml, or the ones given instead. Raises InputError."""
    table = documents.read_yaml(assets.locks_dir() / "images.yaml").value
    given = {"BASE_IMAGE": base_image, "PYTHON_IMAGE": python_image}
    found = []
    for argument, row in (_ROWS_OF_RKNN if phase is RKNN else _ROWS).items():
        if other := given[argument]:
            image, _, digest = other.partition("@")
            found.append(Base(argument, image, digest, GIVEN))
        else:
            found.append(Base(argument, **table[row]))
    return tuple(found)


def verified(reference: str) -> str:
    """What is known of a base image's digest, in a few words; `reference` is `image@digest`."""
    image, _, digest = reference.partition("@")
    for row in documents.read_yaml(assets.locks_dir() / "images.yaml").value.values():
        if row["image"] == image and row["digest"] == digest:
            return "pulled by digest" if row["pulled"] else "not verified by a pull yet"
    return "not one of docker/images.yaml" if reference else "unknown"
