"""What a stage's image is made of: Dockerfile, locks, code, base images, labels. No daemon is asked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mcwbuild import __version__, process
from mcwbuild.contract import assets, disk
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import PHASES, RKNN, Phase
from mcwbuild.engines import code, supervisor
from mcwbuild.engines.docker.bases import Base, bases
from mcwbuild.engines.locks import TorchBuild

PHASE, CODE, LOCKS, RECIPE = "mcwbuild.phase", "mcwbuild.code", "mcwbuild.locks", "mcwbuild.recipe"
WHEEL = "mcwbuild.toolkit-wheel"
TORCH, TOOLKIT, VERSION = "mcwbuild.torch", "mcwbuild.toolkit", "org.opencontainers.image.version"
BASE_NAME, BASE_DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"
REVISION = "org.opencontainers.image.revision"
SUPERVISOR = "mcwbuild/engines/supervisor.py"
BUILDER = "mcwbuild.builder"  # on what a build leaves behind as cache

_TOOLKIT_LINE = re.compile(r"^rknn-toolkit2==(\S+)[^\n]*(?:\n    --hash=\S+(?: \\)?)*\n", re.MULTILINE)


def toolkit_versions() -> dict[str, Path]:
    """Version of RKNN-Toolkit2 -> the folder of its lock; the default comes first."""
    folder = assets.locks_dir() / RKNN.name
    return {_toolkit_of(place): place for place in (folder, *sorted(folder.glob("*.*.*/")))}


def _toolkit_of(folder: Path) -> str:
    match = _TOOLKIT_LINE.search((folder / "requirements.lock").read_text("utf-8"))
    assert match is not None, folder
    return match[1]


@dataclass(frozen=True)
class Recipe:
    """One image to be made.

    `toolkit` is RKNN-Toolkit2's version, for the rknn phase only; `wheel_sha256` that of an own wheel of it.
    """

    phase: Phase
    torch: TorchBuild = "cpu"
    toolkit: str | None = None
    wheel_sha256: str | None = None
    bases: tuple[Base, ...] = field(default=())

    @property
    def name(self) -> str:
        """What people call it: `pt`, `rknn 2.5.0`."""
        return " ".join(word for word in (self.phase.name, self.variant) if word)

    @property
    def variant(self) -> str:
        """What the tag adds to the version: nothing for a default image."""
        default = next(iter(toolkit_versions())) if self.phase is RKNN else None
        words = [f"toolkit{self.toolkit}"] if self.toolkit != default else []
        return "-".join(words + ([self.torch] if self.torch != "cpu" else []))

    @property
    def tags(self) -> tuple[str, ...]:
        """`mcwbuild/<phase>:<version>[-variant]`, and `:latest` for the default image."""
        tag = f"mcwbuild/{self.phase.name}:{__version__.replace('+', '-')}"
        return (f"{tag}-{self.variant}",) if self.variant else (tag, f"mcwbuild/{self.phase.name}:latest")

    @property
    def dockerfile(self) -> str:
        """The Dockerfile's place in the build context."""
        return f"docker/{self.phase.name}/Dockerfile"

    @property
    def lock_folder(self) -> Path:
        """The folder of `requirements.lock` and `sizes.json`."""
        default = assets.locks_dir() / self.phase.name
        return toolkit_versions().get(self.toolkit or "", default) if self.phase is RKNN else default

    @property
    def torch_lock(self) -> Path:
        """Torch's lock: one file for all phases, so that their images share its layer."""
        return assets.locks_dir() / "pt" / f"torch-{self.torch}.lock"

    def requirements(self) -> bytes:
        """The lock of all but torch; with an own wheel of the toolkit, that one's version and hash in it."""
        text = (self.lock_folder / "requirements.lock").read_text("utf-8")
        if self.wheel_sha256 is not None:
            line = f"rknn-toolkit2=={self.toolkit} \\\n    --hash=sha256:{self.wheel_sha256}\n"
            text = _TOOLKIT_LINE.sub(lambda _: line, text)
        return text.encode()

    def sizes(self) -> dict[str, int]:
        """Package -> bytes of its wheel, as `.ci/lock` wrote them down."""
        packages = json.loads((self.lock_folder / "sizes.json").read_text("utf-8"))["requirements.lock"]
        torch = json.loads((self.torch_lock.parent / "sizes.json").read_text("utf-8"))[self.torch_lock.name]
        return {**packages, **torch}

    def files(self) -> dict[str, Path | bytes]:
        """The build context without wheels: place -> file, or what stands in it."""
        docker = assets.locks_dir()
        scripts = ["install.sh", "installer.lock", f"{self.phase.name}/Dockerfile"]
        scripts += ["rknn/python.sh"] if self.phase is RKNN else []
        return {
            **code.files(),
            SUPERVISOR: Path(supervisor.__file__),
            **{f"docker/{name}": docker / name for name in scripts},
            f"docker/pt/{self.torch_lock.name}": self.torch_lock,
            f"docker/{self.phase.name}/requirements.lock": self.requirements(),
        }

    def arguments(self) -> dict[str, str]:
        """The Dockerfile's build arguments."""
        return {"TORCH": self.torch, **{base.argument: base.reference for base in self.bases}}

    def labels(self) -> dict[str, str]:
        """What the image says about itself, apart from the labels in its Dockerfile."""
        base = next(base for base in self.bases if base.argument == "BASE_IMAGE")
        labels = {
            **self.identity(),
            PHASE: self.phase.name,
            TORCH: self.torch,
            TOOLKIT: self.toolkit or "",
            WHEEL: self.wheel_sha256 or "",
            VERSION: __version__,
            BASE_NAME: base.image,
            BASE_DIGEST: base.digest,
            REVISION: _revision(),
        }
        return {name: value for name, value in labels.items() if value}

    def identity(self) -> dict[str, str]:
        """The hashes of the code, of the locks and of the way in which they are put together."""
        context = self.files()
        recipe = {
            place: held
            for place, held in context.items()
            if place.endswith(("Dockerfile", ".sh", "installer.lock", SUPERVISOR))
        }
        locks = {place: held for place, held in context.items() if place.endswith(".lock") and place not in recipe}
        return {CODE: code.sha256(), LOCKS: _hash(locks), RECIPE: _hash(recipe)}


def stale(labels: Mapping[str, str]) -> str | None:
    """Why the image with these labels is not what would be built today; None where it is."""
    if CODE not in labels:
        return "it was built by hand: nothing tells from which code"
    phase = next((phase for phase in PHASES.values() if phase.name == labels[PHASE]), None)
    torch: TorchBuild = "cuda" if labels.get(TORCH) == "cuda" else "cpu"
    if phase is None:
        return f"there is no phase {labels[PHASE]}"
    toolkit, wheel = labels.get(TOOLKIT), labels.get(WHEEL)
    if phase is RKNN and wheel is None and toolkit not in toolkit_versions():
        return f"there is no lock for RKNN-Toolkit2 {toolkit} any more"
    today = Recipe(phase, torch, toolkit, wheel, bases(phase))
    names = {CODE: "the stages' code", LOCKS: "its locks", RECIPE: "its Dockerfile"}
    changed = [names[label] for label, value in today.identity().items() if labels.get(label) != value]
    base = next(base for base in today.bases if base.argument == "BASE_IMAGE")
    if labels.get(BASE_NAME) == base.image and labels.get(BASE_DIGEST, "") not in ("", base.digest):
        changed.append("its base image")
    return f"{' and '.join(changed)} changed" if changed else None


def _revision() -> str:
    """The last commit that changed what images are made of; empty outside of a checkout of mcwbuild's.

    Not the checkout's head: an image would have another id, and its results another key, after every commit.
    """
    root = assets.root()
    if not (root / ".git").exists():
        return ""
    places = ("docker", "schemas", "stages", "mcwbuild/__init__.py", "mcwbuild/contract", SUPERVISOR)
    return process.answer("git", "log", "-1", "--format=%H", "--", *places, folder=root) or ""


def _hash(context: Mapping[str, Path | bytes]) -> str:
    digest = hashlib.sha256()
    for place, held in sorted(context.items()):
        of = hashlib.sha256(held).hexdigest() if isinstance(held, bytes) else disk.sha256_of(held)
        digest.update(f"{place}\0{of}\n".encode())
    return digest.hexdigest()


def recipe(
    phase: Phase,
    *,
    torch: TorchBuild = "cpu",
    toolkit: str | None = None,
    wheel: Path | None = None,
    base_image: str | None = None,
    python_image: str | None = None,
) -> Recipe:
    """The recipe of a phase's image. CUDA is for the one phase that uses a GPU. Raises InputError."""
    found = bases(phase, base_image, python_image)
    if phase is not RKNN:
        return Recipe(phase, torch if phase.name == "pt" else "cpu", bases=found)
    if wheel is not None:
        return Recipe(phase, "cpu", _version_of(wheel), disk.sha256_of(wheel), found)
    versions = toolkit_versions()
    if toolkit is not None and toolkit not in versions:
        raise InputError(
            f"There is no lock for RKNN-Toolkit2 {toolkit}.",
            f"There are locks for {' and '.join(versions)}.",
            "Take one of these, or give the wheel of another version with --toolkit-wheel.",
        )
    return Recipe(phase, "cpu", toolkit or next(iter(versions)), bases=found)


def _version_of(wheel: Path) -> str:
    match = re.fullmatch(r"rknn[_-]toolkit2-([^-]+)-cp311-cp311-.*x86_64\.whl", wheel.name)
    if match is None or not wheel.is_file():
        raise InputError(
            f"{wheel} is no wheel of RKNN-Toolkit2 for the image.",
            "It is not there." if match else "Its name is not rknn_toolkit2-<version>-cp311-cp311-...x86_64.whl.",
            "Give the wheel for Python 3.11 on x86-64, under its own name.",
        )
    return match[1]
