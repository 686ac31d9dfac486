"""The chips that the toolkit builds for, and what each of them can run.

Every line was built once with RKNN-Toolkit2 2.3.2, FP16 and INT8.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, get_args

from mcwbuild.contract.errors import InputError

Variant = Literal["fp16", "int8"]
# The same NPU under two names: Rockchip's own examples ship one file for each pair.
_TWINS = (("rk3566", "rk3568"), ("rk3588", "rk3588s"))
VARIANTS: tuple[Variant, ...] = get_args(Variant)


@dataclass(frozen=True)
class Target:
    """One chip.

    `platform` is the name that the toolkit writes into the `.rknn`; `fp16` and `int8` are empty where that
    build works, else the reason why it does not; `lite` says whether rknn-toolkit-lite2 runs there, which
    is what `npu_inference.py` needs; `cores` counts the NPU's cores.
    """

    name: str
    platform: str
    cores: int = 1
    fp16: str = ""
    int8: str = ""
    lite: bool = True

    def reason_against(self, variant: Variant) -> str:
        """Why this variant cannot be built for the chip; empty where it can."""
        return self.fp16 if variant == "fp16" else self.int8

    @property
    def chips(self) -> tuple[str, ...]:
        """The chips that run the same file, as boards call themselves."""
        twins = next((pair for pair in _TWINS if self.name in pair), (self.name,))
        return tuple(sorted(twins))

    @property
    def core_masks(self) -> tuple[str, ...]:
        """The values of rknn-toolkit-lite2's core_mask that the chip takes; it has them on multi-core chips only."""
        return {
            2: ("NPU_CORE_AUTO", "NPU_CORE_0", "NPU_CORE_1", "NPU_CORE_0_1"),
            3: ("NPU_CORE_AUTO", "NPU_CORE_0", "NPU_CORE_1", "NPU_CORE_2", "NPU_CORE_0_1", "NPU_CORE_0_1_2"),
        }.get(self.cores, ())


def _int8_only(name: str) -> Target:
    return Target(name, name, fp16=f"the NPU of {name} computes in integers only; the toolkit refuses FP16", lite=False)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("rk3562", "rk3562"),
        Target("rk3566", "rk3566"),
        Target("rk3568", "rk3568"),
        Target("rk3576", "rk3576", cores=2),
        Target("rk3588", "rk3588", cores=3),
        Target("rk3588s", "rk3588", cores=3),
        Target("rv1126b", "rv1126b"),
        _int8_only("rv1103"),
        _int8_only("rv1103b"),
        _int8_only("rv1106"),
        _int8_only("rv1106b"),
        Target("rk2118", "rk2118", int8="the toolkit's compiler aborts on INT8 for rk2118", lite=False),
    )
}


def find(name: str) -> Target:
    """The chip called `name`, whatever its case. Raises InputError that lists all of them."""
    target = TARGETS.get(name.lower())
    if target is not None:
        return target
    close = difflib.get_close_matches(name.lower(), TARGETS, 1)
    raise InputError(
        f"--target {name} is not a chip that this toolkit builds for.",
        f"Known are {', '.join(TARGETS)}.",
        f"Did you mean {close[0]}?" if close else "Give --target one of them.",
        kind="target",
    )
