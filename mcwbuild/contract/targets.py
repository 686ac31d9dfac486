"""The chips that RKNN-Toolkit2 2.3.2 builds for, and what each of them can do.

Every line was tried: `tests/campaign/targets.py` builds a small detector for every chip in every type of numbers.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, get_args

from mcwbuild.contract.errors import InputError

Type = Literal["float16", "bfloat16", "tfloat32", "w8a8", "w8a16", "w4a16", "w16a16i", "w16a16i_dfp"]
TYPES: tuple[Type, ...] = get_args(Type)


@dataclass(frozen=True)
class Target:
    """One chip.

    platform: the name that the toolkit writes into the `.rknn`; fp16, int8: empty where that build works, else the
    reason why it does not; others: types that the toolkit builds there too, and that mcwbuild does not offer; cores: of
    the NPU; lite: whether rknn-toolkit-lite2 runs there, which is what `npu_inference.py` needs; build: the chip whose
    build this one runs, itself where it has its own.
    """

    name: str
    platform: str
    build: str
    cores: int
    others: tuple[Type, ...]
    fp16: str = ""
    int8: str = ""
    lite: bool = True

    @property
    def chips(self) -> tuple[str, ...]:
        """The chips that run the same file, as boards call themselves."""
        return tuple(sorted(name for name, target in TARGETS.items() if target.build == self.build))

    @property
    def core_masks(self) -> tuple[str, ...]:
        """The values of rknn-toolkit-lite2's core_mask that the chip takes; it has them on multi-core chips only."""
        return {
            2: ("NPU_CORE_AUTO", "NPU_CORE_0", "NPU_CORE_1", "NPU_CORE_0_1"),
            3: ("NPU_CORE_AUTO", "NPU_CORE_0", "NPU_CORE_1", "NPU_CORE_2", "NPU_CORE_0_1", "NPU_CORE_0_1_2"),
        }.get(self.cores, ())


def _both(name: str, *others: Type, cores: int = 1, platform: str | None = None, build: str | None = None) -> Target:
    """A chip that computes FP16 and INT8; the toolkit builds bfloat16 and both kinds of w16a16 for all of them."""
    more: tuple[Type, ...] = ("bfloat16", *others, "w16a16i", "w16a16i_dfp")
    return Target(name, platform or name, build or platform or name, cores, more)


def _int8_only(name: str, *others: Type) -> Target:
    reason = f"the NPU of {name} computes in integers only; the toolkit refuses FP16"
    return Target(name, name, name, 1, others, fp16=reason, lite=False)


# rk3566 and rk3568 have the same NPU: their builds of one network differ in the chip's name and in leaked memory alone,
# and Rockchip's own examples ship one file for both. rk3588s is rk3588 to the toolkit.
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        _both("rk3562"),
        _both("rk3566"),
        _both("rk3568", build="rk3566"),
        _both("rk3576", "w4a16", cores=2),
        _both("rk3588", cores=3),
        _both("rk3588s", cores=3, platform="rk3588"),
        _both("rv1126b", "w4a16"),
        _int8_only("rv1103", "w16a16i", "w16a16i_dfp"),
        _int8_only("rv1103b"),
        _int8_only("rv1106", "w16a16i", "w16a16i_dfp"),
        _int8_only("rv1106b"),
        Target(
            *("rk2118", "rk2118", "rk2118", 1, ()), int8="the toolkit's compiler aborts on INT8 for rk2118", lite=False
        ),
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
        f"Did you mean {close[0]}?" if close else "Give --target one of them; `mcwbuild targets` lists them.",
        kind="target",
    )


def same_build(one: str, other: str) -> bool:
    """Whether both chips, called by name, run the same file."""
    return one in TARGETS and other in TARGETS and TARGETS[one].build == TARGETS[other].build
