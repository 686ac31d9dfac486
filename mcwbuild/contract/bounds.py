"""How much of an input is read at most: one table. Each bound has an environment variable, which stages see too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from mcwbuild.contract.errors import InputError, Problem

PREFIX = "MCWBUILD_LIMIT_"


@dataclass(frozen=True)
class Bound:
    """The most of something that is read; `default` in the unit that `what` names."""

    name: str
    default: int
    what: str

    @property
    def variable(self) -> str:
        """The environment variable that sets another."""
        return PREFIX + self.name.upper()

    @property
    def value(self) -> int:
        """The bound as it is set; the default where what is set is no whole number above 0, which `require` refuses."""
        written = os.environ.get(self.variable, "")
        return int(written) if _sound(written) else self.default


DOCUMENT_BYTES = Bound("document_bytes", 1_000_000, "bytes of a YAML or JSON document")
DOCUMENT_VALUES = Bound("document_values", 100_000, "values in a document")
LIST_BYTES = Bound("list_bytes", 1 << 30, "bytes of a list of images or texts")
CLASSES = Bound("classes", 20_000, "classes of a dataset")
IMAGE_PIXELS = Bound("image_pixels", 100_000_000, "pixels of an image, by its header")
MODEL_BYTES = Bound("model_bytes", 2 << 30, "bytes of a model file; protobuf, and so ONNX, ends at 2 GiB")
LOG_BYTES = Bound("log_bytes", 20_000_000, "bytes of a step's log")
BOUNDS = (DOCUMENT_BYTES, DOCUMENT_VALUES, LIST_BYTES, CLASSES, IMAGE_PIXELS, MODEL_BYTES, LOG_BYTES)


def table() -> str:
    """All of them, in Markdown."""
    rows = "".join(f"| `{bound.variable}` | {bound.default} | {bound.what} |\n" for bound in BOUNDS)
    return f"| variable | default | of what |\n|---|---|---|\n{rows}"


def require(environment: Mapping[str, str] | None = None) -> None:
    """Raises InputError with every bound that is set to something else than a whole number above 0, or is unknown."""
    environment = os.environ if environment is None else environment
    known = {bound.variable for bound in BOUNDS}
    problems = [
        Problem(
            f"{text!a} is no whole number above 0" if name in known else "there is no such limit",
            file=f"environment {name}",
        )
        for name, text in sorted(environment.items())
        if name.startswith(PREFIX) and not (name in known and _sound(text))
    ]
    if problems:
        raise InputError(
            "A limit cannot be understood.", remedy="docs/security.md has the table.", kind="limit", problems=problems
        )


def _sound(written: str) -> bool:
    return written.isascii() and written.isdigit() and 0 < int(written[:20]) < 1 << 62
