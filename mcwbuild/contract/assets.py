"""Where the files lie that are shipped beside the code: schemas, stages, locks."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def root() -> Path:
    """The folder that holds `schemas/`, `stages/` and `docker/`.

    The repository in a checkout, the code folder in a stage's image or environment, `_shipped` inside
    the package in an installation from a wheel.
    """
    beside = _PACKAGE.parent
    return beside if (beside / "schemas" / "common.schema.json").is_file() else _PACKAGE / "_shipped"


def schemas_dir() -> Path:
    """The folder of the JSON Schemas."""
    return root() / "schemas"


def stages_dir() -> Path:
    """The folder of the stages' code."""
    return root() / "stages"


def locks_dir() -> Path:
    """The folder with one sub-folder of locks and a Dockerfile for each phase."""
    return root() / "docker"
