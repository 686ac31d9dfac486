"""`mcwbuild targets`: the chips, and what each can do."""

from __future__ import annotations

import click

from mcwbuild.contract.targets import TARGETS, Target


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def targets(as_json: bool) -> int:
    """List the chips that RKNN-Toolkit2 builds for, what each can do, and which share a build."""
    from mcwbuild.report import console

    if as_json:
        console.show_json([_as_dict(target) for target in TARGETS.values()])
        return 0
    header = ["chip", "fp16", "int8", "NPU cores", "runs the build of", "on the board", "the toolkit builds too"]
    console.show_table("", header, [_row(target) for target in TARGETS.values()], right=[3])
    return 0


def _row(target: Target) -> list[str]:
    return [
        target.name,
        "no" if target.fp16 else "yes",
        "no" if target.int8 else "yes",
        str(target.cores),
        "" if target.build == target.name else target.build,
        "npu_inference.py" if target.lite else "C API only",
        ", ".join(target.others),
    ]


def _as_dict(target: Target) -> dict[str, object]:
    return {
        "chip": target.name,
        "fp16": not target.fp16,
        "fp16_reason": target.fp16 or None,
        "int8": not target.int8,
        "int8_reason": target.int8 or None,
        "cores": target.cores,
        "core_masks": list(target.core_masks),
        "build": target.build,
        "chips": list(target.chips),
        "platform": target.platform,
        "lite": target.lite,
        "toolkit_types": list(target.others),
    }
