"""`train.yaml`: how a model is trained."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcwbuild.contract import look, schemas, validate, yaml

FILE = "train.yaml"
SCHEMA = "train"
_OWN = ("schema", "model", "task")
_WIDTH = 100  # columns of a comment in the example


@dataclass(frozen=True)
class TrainConfig:
    """A `train.yaml`: the model to begin from, its task where it is written, the trainer's settings by their names."""

    file: Path
    model: str
    task: str | None
    settings: Mapping[str, Any]

    @property
    def weights(self) -> Path | None:
        """The checkpoint to begin from, or None where an architecture is trained from nothing."""
        return self.file.parent / self.model if self.model.endswith(".pt") else None

    @property
    def own_yaml(self) -> Path | None:
        """The architecture where it is the user's own: a YAML of that name lies beside this file."""
        path = self.file.parent / self.model
        return path if self.model.endswith(".yaml") and look.is_file(path) else None

    @property
    def given(self) -> Path | None:
        """The file that the training needs beside this one, if it needs one."""
        return self.weights or self.own_yaml


def read(path: Path) -> TrainConfig:
    """The configuration at `path`. Raises InputError with every problem."""
    (document,) = validate.require_all([(path, SCHEMA)])
    value = document.value
    settings = {key: setting for key, setting in value.items() if key not in _OWN}
    return TrainConfig(path, value["model"], value.get("task"), settings)


def example() -> str:
    """A `train.yaml` with every field and its default, all but the model commented out."""
    lines = ["# How a model is trained: mcwbuild train --data data.yaml --config train.yaml", "model: yolo11n.yaml"]
    for key, field in schemas.schema(SCHEMA)["properties"].items():
        if key in _OWN:
            continue
        shown = field.get("default", *field.get("examples", ()))
        lines += ["", *textwrap.wrap(field["description"], _WIDTH, initial_indent="# ", subsequent_indent="# ")]
        lines.append(f"# {yaml.dump({key: shown}).rstrip()}")
    return "\n".join(lines) + "\n"
