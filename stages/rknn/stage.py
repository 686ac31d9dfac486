"""The phase's program: the toolkit is loaded while the inputs are still being read and checked.

Loading the toolkit takes a second, importing what reads the inputs a quarter of one; so that nobody waits for both,
what loads it starts as soon as the flags are read, and everything else is imported behind that. The builds are split
off from it when all inputs are in order, and it is gone where one is not.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcwbuild.contract.bench import Bench
from mcwbuild.contract.phases import RKNN
from mcwbuild.contract.stage import Stage
from mcwbuild.contract.targets import TARGETS
from stages.rknn import arguments, side_by_side
from stages.rknn.children import Children
from stages.rknn.ground import FixedGround, Ground
from stages.rknn.targets import VARIANTS, Variant, reason_against

if TYPE_CHECKING:
    from stages.rknn.request import Request
    from stages.rknn.shared import Shared


@dataclass(frozen=True)
class Begun:
    """A request that was checked, and the toolkit's processes for its builds."""

    asked: Request | Shared
    children: Children | None


def require(args: argparse.Namespace) -> Begun:
    """The request, with every problem of every input told at once. Raises InputError, ContractBroken, Refused."""
    with ExitStack() as unless_begun:
        children = _begin(_expected(args), args)
        if children is not None:
            unless_begun.callback(children.end)
        from stages.rknn import phase, request

        asked = request.require(args)
        if not isinstance(asked, request.Request):
            return Begun(asked, None)
        threads = 1 if args.reproducible else phase.shared_among(asked).threads
        if children is None or children.threads != threads:  # other builds than the flags alone made expect
            unless_begun.close()
            children = _children(asked.variants, threads, args)
        else:
            unless_begun.pop_all()
        return Begun(asked, children)


def _expected(args: argparse.Namespace) -> tuple[Variant, ...]:
    """What will be built, as far as the flags tell; nothing where they are wrong or a package is taken."""
    target = TARGETS.get(args.target)
    if args.shared is not None or target is None or not args.onnx.is_file():
        return ()
    images = args.data is not None or args.dataset is not None
    asked = (variant for variant in VARIANTS if args.dtype in ("both", variant) and (variant == "fp16" or images))
    return tuple(variant for variant in asked if not reason_against(target, variant))


def _begin(variants: tuple[Variant, ...], args: argparse.Namespace) -> Children | None:
    if not variants:
        return None
    share = side_by_side.share(len(variants), args.threads, args.onnx.stat().st_size)
    return _children(variants, 1 if args.reproducible else share.threads, args)


def _children(variants: tuple[Variant, ...], threads: int, args: argparse.Namespace) -> Children:
    """The builds' processes, with `threads` for each; the toolkit loads beside the calibration."""
    ahead = variants if args.threads > 1 else variants[:1]  # even where they build one after the other
    alone = variants == ("fp16",) or (len(variants) == 1 and args.tune == "off")
    return Children(threads, ahead, FixedGround() if args.reproducible else Ground(), alone=alone)


def work(begun: Begun, bench: Bench) -> None:
    """Do the whole phase; every file of the package but the manifest lies in `bench.out` afterwards."""
    from stages.rknn import phase, shared

    if begun.children is None:
        assert isinstance(begun.asked, shared.Shared)
        shared.work(begun.asked, bench)
        return
    assert not isinstance(begun.asked, shared.Shared)
    try:
        phase.work(begun.asked, begun.children, bench)
    finally:
        begun.children.end()


def delivered_whole(begun: Begun) -> None:
    """The package is there: the tries of its search and its evaluations' states are of no use any more."""
    from stages.rknn.request import Request
    from stages.rknn.tune import state

    if isinstance(begun.asked, Request):
        if begun.asked.tries is not None:
            state.forget(begun.asked.tries)
        for place in begun.asked.evaluations.values():
            place.forget()


STAGE = Stage(
    RKNN,
    "Convert an ONNX model to RKNN with RKNN-Toolkit2.",
    arguments.add_arguments,
    require,
    work,
    delivered_whole,
)
