"""A wheelhouse: the wheels that images are made from, in one folder, so that a build needs no network.

    DIR/uv/             uv, which installs the others
    DIR/torch-cpu/      torch for all phases (torch-cuda/ for a pt image with CUDA)
    DIR/pt/ DIR/onnx/ DIR/rknn/     each phase's others; rknn-2.5.0/ for another toolkit

As `wheels/` in a checkout it also serves builds by hand.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mcwbuild.contract import assets, disk
from mcwbuild.contract.errors import EnvironmentLacking, InputError
from mcwbuild.contract.events import Emit, Finished, Noted, Started
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines import torch_source, uvtool
from mcwbuild.engines.docker.recipes import Recipe
from mcwbuild.engines.locks import PYTHON
from mcwbuild.engines.machine import MINIMUM_GLIBC

PIP = "pip==25.3"  # uv does not download wheels into a folder
_PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(MINIMUM_GLIBC[1], 4, -1)]
_PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]


def locks(recipe: Recipe) -> dict[str, bytes]:
    """Folder in the wheelhouse -> the lock whose wheels it holds."""
    uv = assets.locks_dir() / "installer.lock"
    phase = recipe.phase.name if recipe.lock_folder.name == recipe.phase.name else f"rknn-{recipe.lock_folder.name}"
    return {
        "uv": uv.read_bytes(),
        recipe.torch_lock.stem: recipe.torch_lock.read_bytes(),
        phase: recipe.requirements(),
    }


def pinned(lock: bytes) -> dict[tuple[str, str], frozenset[str]]:
    """(normalized name, version) -> the SHA-256 sums that its wheels may have."""
    text = lock.decode("utf-8")
    found = {}
    for match in re.finditer(
        r"^([A-Za-z0-9._-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)", text, re.MULTILINE
    ):
        found[_normal(match[1]), match[2]] = frozenset(re.findall(r"sha256:([0-9a-f]{64})", match[3]))
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def take(house: Path, recipe: Recipe, wheel: Path | None = None) -> dict[str, Path | bytes]:
    """The wheels of a recipe's image: place in the build context -> file; `wheel` is an own one of the toolkit.

    Raises InputError where the house lacks one or holds another file under its name.
    """
    context: dict[str, Path | bytes] = {}
    lacking: list[str] = []
    for folder, lock in locks(recipe).items():
        place = recipe.phase.name if folder.startswith(recipe.phase.name) else folder
        wheels = {key(path): path for path in sorted((house / folder).glob("*.whl"))}
        if wheel is not None and folder == place == recipe.phase.name:
            wheels[key(wheel)] = wheel
        for pin, sums in pinned(lock).items():
            path = wheels.get(pin)
            if path is None:
                lacking.append(f"{folder}/{'=='.join(pin)} is not there")
            elif disk.sha256_of(path) not in sums:
                lacking.append(f"{folder}/{path.name} is not the file that the lock names")
            else:
                context[f"wheels/{place}/{path.name}"] = path
    if lacking:
        raise InputError(
            f"The wheelhouse {house} does not serve for the {recipe.name} image.",
            f"{len(lacking)} of its wheels: {'; '.join(lacking[:3])}{' ...' if len(lacking) > 3 else ''}.",
            f"Fill it with: mcwbuild images wheelhouse {house}",
        )
    return context


def key(wheel: Path) -> tuple[str, str]:
    """(normalized name, version) of a wheel, by its file name."""
    name, version, *_ = wheel.name.replace("%2B", "+").split("-")
    return _normal(name), version


def fill(house: Path, recipes: Sequence[Recipe], emit: Emit, index: Sequence[str] = ()) -> None:
    """Downloads what the recipes' locks name and the house lacks; `index` are pip's options for that.

    Raises EnvironmentLacking with pip's own cause.
    """
    wanted = {folder: lock for recipe in recipes for folder, lock in locks(recipe).items()}
    with tempfile.TemporaryDirectory(prefix="mcwbuild-wheelhouse-") as scratch:
        for folder, lock in wanted.items():
            place = house / folder
            place.mkdir(parents=True, exist_ok=True)
            have = {key(path) for path in place.glob("*.whl") if disk.sha256_of(path) in _sums(lock)}
            if not set(pinned(lock)) - have:
                emit(Noted(f"{place}: all {len(have)} wheels are there."))
                continue
            start = time.monotonic()
            emit(Started("wheels", folder))
            file = Path(scratch, f"{folder}.lock")
            file.write_bytes(lock)
            if folder == "torch-cpu":
                file.write_text(_located(file, Path(scratch)), "utf-8")
            _download(file, place, index)
            held = sum(path.stat().st_size for path in place.glob("*.whl"))
            emit(Finished("wheels", round(time.monotonic() - start, 1), f"{place}, {held / 1e6:.0f} MB"))


def _sums(lock: bytes) -> frozenset[str]:
    return frozenset[str]().union(*pinned(lock).values())


def _located(lock: Path, scratch: Path) -> str:
    """The lock of torch's CPU build, with the address of its wheel where only PyTorch's own index has it."""
    text = lock.read_text("utf-8")
    source = torch_source.decide(ONNX, scratch)
    if source.build != "cpu":
        raise EnvironmentLacking(
            "torch's CPU build cannot be downloaded.",
            f"It was looked for as {text.split()[0]}: neither a wheel folder nor PyTorch's CPU index gives it.",
            "Run again with a network, or name a folder that holds the wheel in PIP_FIND_LINKS.",
            kind="network",
        )
    if source.backend is None:
        return text
    arguments = ["pip", "compile", str(lock), "--no-deps", "--quiet", "--only-binary", ":all:"]
    arguments += ["--format", "pylock.toml", "--python-version", PYTHON, "--torch-backend", source.backend]
    arguments += ["--python-platform", f"x86_64-{_PLATFORMS[0].removesuffix('_x86_64')}"]
    output = uvtool.attempt(arguments, scratch)[1]
    address = re.search(r'url = "([^"]+-cp311-cp311-manylinux[^"]*x86_64\.whl)"', output)
    return text.replace(text.split()[0], f"torch @ {address[1]}") if address else text


def _download(lock: Path, place: Path, index: Sequence[str]) -> None:
    arguments = ["tool", "run", "--from", PIP, "pip", "download", "--quiet", "--require-hashes", "--no-deps"]
    arguments += ["--only-binary", ":all:", "--python-version", PYTHON, "--implementation", "cp"]
    arguments += [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
    arguments += [word for platform in _PLATFORMS for word in ("--platform", platform)]
    arguments += [word for folder in uvtool.wheel_folders() for word in ("--find-links", folder)]
    code, output = uvtool.attempt([*arguments, *index, "--dest", str(place), "-r", str(lock)], lock.parent)
    if code:
        errors = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR")]
        raise EnvironmentLacking(
            f"The wheels of {lock.stem} could not be downloaded.",
            f"pip says: {(errors or [uvtool.cause(output)])[-1][:300].rstrip('.')}.",
            "Run again with a network, or name an index in PIP_INDEX_URL and wheel folders in PIP_FIND_LINKS.",
            kind="network",
        )
