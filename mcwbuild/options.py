"""Every option: one table, resolved once into a frozen `Settings` that remembers where each value came from.

Flag > `MCWBUILD_*` > `mcwbuild.yaml` found upwards > the user's configuration > default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mcwbuild.contract.errors import InputError, Problem
from mcwbuild.contract.limits import merged, overrides
from mcwbuild.contract.targets import TARGETS
from mcwbuild.contract.tuning import EFFORTS, seconds

FILE = "mcwbuild.yaml"
PREFIX = "MCWBUILD_"

Dtype = Literal["fp16", "int8", "both"]
Progress = Literal["auto", "tty", "plain", "quiet", "json"]
DTYPES: tuple[Dtype, ...] = ("both", "fp16", "int8")
ENGINES = ("auto", "docker", "local", "dask")
WORKER_ENGINES = ("auto", "docker", "local")
PROGRESS: tuple[Progress, ...] = ("auto", "tty", "plain", "quiet", "json")
ALGORITHMS = ("normal", "kl_divergence", "mmse")

LEAST_MEMORY = 256 << 20  # bytes: torch alone takes as much


def number(low: float, high: float) -> Callable[[Any], float]:
    """A parser of numbers between `low` and `high`, both included."""

    def parse(value: Any) -> float:
        if not low <= float(value) <= high:
            raise ValueError(f"{value} is not between {low:g} and {high:g}")
        return float(value)

    return parse


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A parser of whole numbers between `low` and `high`, both included."""

    def parse(value: Any) -> int:
        if int(value) != float(value) or not low <= int(value) <= high:
            raise ValueError(f"{value} is not a whole number between {low} and {high}")
        return int(value)

    return parse


def one_of(*words: str) -> Callable[[Any], str]:
    """A parser of one word out of a closed set."""

    def parse(value: Any) -> str:
        if value not in words:
            raise ValueError(f"{value} is none of {', '.join(words)}")
        return str(value)

    return parse


def targets(value: Any) -> tuple[str, ...]:
    """One platform or several: a list, or text with commas. rk3588s is rk3588 to the toolkit."""
    words = value.replace(",", " ").split() if isinstance(value, str) else list(value)
    known = [one_of(*TARGETS)(str(word).lower()) for word in words]
    return tuple(dict.fromkeys(TARGETS[name].platform for name in known))


def image_size(value: Any) -> tuple[int, int]:
    """An image size in pixels as (height, width), from `640`, `320,640`, `320x640` or a list."""
    parts = value.replace("x", ",").split(",") if isinstance(value, str) else value
    sides = [whole(1, 1 << 15)(side) for side in (parts if isinstance(parts, (list, tuple)) else [parts])]
    if len(sides) not in (1, 2):
        raise ValueError(f"{value} is not H or H,W")
    return sides[0], sides[-1]


def size_in_bytes(value: Any) -> int:
    """An amount of memory, from `8g`, `512m` or bytes: binary multiples, as `docker run --memory` reads them."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgt]?)i?b?", str(value).strip().lower())
    if not found:
        raise ValueError(f"{value} is not a size such as 8g or 512m")
    size = int(float(found[1]) * 1024 ** "_kmgt".index(found[2] or "_"))
    if size < LEAST_MEMORY:
        raise ValueError(f"{value} is too little: a stage needs {LEAST_MEMORY >> 20}m at least")
    return size


def truth(value: Any) -> bool:
    """A yes or no from the environment or a file."""
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if str(value).lower() not in words:
        raise ValueError(f"{value} is neither true nor false")
    return words[str(value).lower()]


@dataclass(frozen=True)
class Option:
    """One option: how it is parsed, its default, and what the help says. `metavar` names its value.

    `in_file` is False for what a folder that somebody else made may not decide. `several` is the flag of one value
    where there may be many: all sources count, and a stronger one has the last word on what it names.
    """

    name: str
    parse: Callable[[Any], Any]
    default: Any
    help: str
    metavar: str
    is_path: bool = False
    in_file: bool = True
    several: str = ""

    @property
    def flag(self) -> str:
        """The command line flag."""
        return self.several or "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()


def _path(name: str, help: str, metavar: str, in_file: bool = True) -> Option:
    return Option(name, Path, None, help, metavar, is_path=True, in_file=in_file)


OPTIONS: tuple[Option, ...] = (
    Option("target", targets, (), "Rockchip platform; may be given several times.", "CHIP"),
    Option("dtype", one_of(*DTYPES), "both", "fp16 for accuracy, int8 for speed, or both.", "|".join(DTYPES)),
    Option("engine", one_of(*ENGINES), "auto", "Where stages run.", "|".join(ENGINES)),
    Option("scheduler", str, None, "The dask engine's scheduler, tls:// or on this machine.", "ADDRESS", in_file=False),
    _path("shared_folder", "Folder at the same path on this machine and the dask engine's workers.", "DIR", False),
    Option(
        "worker_engine",
        one_of(*WORKER_ENGINES),
        "auto",
        "Where the dask engine's workers run stages.",
        "|".join(WORKER_ENGINES),
        in_file=False,
    ),
    _path("dask_tls_ca", "Certificates that the dask engine trusts, PEM.", "FILE", False),
    _path("dask_tls_cert", "The dask engine's own certificate, PEM.", "FILE", False),
    _path("dask_tls_key", "Its key, PEM.", "FILE", False),
    Option("memory", size_in_bytes, None, "Memory of a stage's container.  [default: 80 % of the machine's]", "SIZE"),
    _path("out", "Folder of the packages.  [default: build/NAME]", "DIR"),
    Option("name", str, None, "Name of the model.  [default: model.name, else the checkpoint's folder]", "NAME"),
    _path("data", "data.yaml, or folder of classes, of a labelled dataset: measures, calibrates INT8.", "FILE"),
    _path("dataset", "Text file with one image a line, or a folder of images: calibrates INT8.", "FILE"),
    _path("source", "Source document of the input.", "FILE"),
    Option("imgsz", image_size, None, "Input size, where the checkpoint's own is not meant.", "H[,W]"),
    Option("opset", whole(12, 19), 17, "ONNX opset; RKNN-Toolkit2 takes 19 at most.", "N"),
    Option("simplify", truth, True, "Simplify the ONNX graph.", "true|false"),
    Option("optimization_level", whole(0, 3), 3, "RKNN-Toolkit2's optimization level.", "0-3"),
    Option("algorithm", one_of(*ALGORITHMS), "normal", "Quantization algorithm.", "|".join(ALGORITHMS)),
    Option(
        "calibration_images",
        whole(1, 1000),
        None,
        "How many images calibrate INT8.  [default: until the ranges stand still]",
        "N",
    ),
    Option(
        "tune",
        one_of(*EFFORTS),
        "fast",
        "Search an INT8 build that passes, where the plain one fails.",
        "|".join(EFFORTS),
    ),
    Option("tune_budget", seconds, None, "Most time for that search: minutes, or 90s, 2h.  [default: 30m]", "TIME"),
    Option("layers", truth, False, "Record the error of every INT8 layer.", "true|false"),
    Option("reproducible", truth, False, "Make each .rknn the same to the last byte; slower.", "true|false"),
    Option("conf", number(0, 1), 0.25, "Confidence threshold of the deployed model.", "0-1"),
    Option("iou", number(0, 1), 0.7, "IoU above which the weaker of two boxes is dropped.", "0-1"),
    Option("max_detections", whole(1, 10000), 300, "Boxes kept per image.", "N"),
    Option(
        "trust_checkpoint",
        truth,
        False,
        "Unpickle the checkpoint: its code runs, in a container.",
        "true|false",
        in_file=False,
    ),
    _path("model_code", "Folder of the checkpoint's own modules; implies --trust-checkpoint.", "DIR", False),
    Option(
        "model",
        str,
        None,
        "What in --model-code makes the network of weights that come without one.",
        "MODULE:CALLABLE",
        in_file=False,
    ),
    Option("toolkit_version", str, None, "RKNN-Toolkit2's version, where the image is not the default one.", "X.Y.Z"),
    Option("gates", overrides, (), "A gate's limit, as int8.map50_95=3% or =0.02.", "GATE", several="--gate"),
    Option(
        "contract_check",
        one_of("auto", "off"),
        "auto",
        "With labels: look whether accuracy rises under another contract.",
        "auto|off",
    ),
    Option("strict", truth, False, "A gate that is undecided counts as failed.", "true|false"),
    Option("store", truth, True, "Take packages that were made of the same before, and keep new ones.", "true|false"),
    Option("store_limit", size_in_bytes, 20 << 30, "Most that is kept of them.  [default: 20g]", "SIZE"),
    Option("threads", whole(1, 1024), None, "CPU threads of a stage.  [default: all]", "N"),
    Option("progress", one_of(*PROGRESS), "auto", "How progress is shown, on standard error.", "|".join(PROGRESS)),
)
BY_NAME: dict[str, Option] = {option.name: option for option in OPTIONS}


@dataclass(frozen=True)
class Settings:
    """All options resolved, by name, with the place each value came from."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def find_upwards(start: Path) -> Path | None:
    """The nearest `mcwbuild.yaml` in `start` or above it."""
    return next((folder / FILE for folder in (start, *start.parents) if (folder / FILE).is_file()), None)


def user_file() -> Path:
    """The user's own configuration file, whether it exists or not."""
    from platformdirs import user_config_path

    return user_config_path("mcwbuild") / FILE


def from_file(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and origins of one `mcwbuild.yaml`; relative paths in it mean its own folder."""
    from mcwbuild.contract import documents, validate

    document = documents.read_yaml(path)
    validate.require(document, "mcwbuild")
    values, origins = {}, {}
    for key, value in document.value.items():
        if key not in BY_NAME:  # `schema`
            continue
        line = document.place((key,))[0]
        values[key] = path.parent / value if BY_NAME[key].is_path else value
        origins[key] = f"{path}:{line}"
    return values, origins


def resolve(
    flags: Mapping[str, Any], environment: Mapping[str, str] | None = None, start: Path | None = None
) -> Settings:
    """Every option from its strongest source. Raises InputError with all that cannot be understood."""
    environment = os.environ if environment is None else environment
    layers: list[tuple[Mapping[str, Any], Mapping[str, str]]] = [
        (flags, {name: f"flag {BY_NAME[name].flag}" for name in flags}),
        (
            {o.name: environment[o.variable] for o in OPTIONS if environment.get(o.variable)},
            {o.name: f"environment {o.variable}" for o in OPTIONS},
        ),
    ]
    project = find_upwards((start or Path.cwd()).resolve())
    for path in (project, user_file()):
        if path is not None and path.is_file():
            layers.append(from_file(path))
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems: list[Problem] = []
    for option in OPTIONS:
        found = [(layer, names) for layer, names in layers if option.name in layer]
        values[option.name], origins[option.name] = option.default, "default"
        for layer, names in reversed(found if option.several else found[:1]):
            origins[option.name] = names[option.name]
            try:
                value = option.parse(layer[option.name])
            except (ValueError, TypeError, AttributeError) as error:
                problems.append(Problem(f"{option.flag}: {error}", file=origins[option.name]))
                continue
            values[option.name] = merged((*values[option.name], *value)) if option.several else value
    if problems:
        raise InputError("Some options cannot be understood.", remedy="Mend them and try again.", problems=problems)
    return Settings(values, origins)
