"""The variants of a package: what is built for a chip."""

from __future__ import annotations

from typing import Literal, get_args

from mcwbuild.contract.targets import Target

Variant = Literal["fp16", "int8"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)


def reason_against(target: Target, variant: Variant) -> str:
    """Why this variant cannot be built for the chip; empty where it can."""
    return target.fp16 if variant == "fp16" else target.int8
