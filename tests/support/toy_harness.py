"""A stage of its own for the harness: `python toy_harness.py DEED --out DIR ...` does what DEED says."""

from __future__ import annotations

import argparse
import os
import sys
import time

from mcwbuild.contract import documents
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import InputError, Problem, Refused
from mcwbuild.contract.phases import MANIFEST, PT, SUMS
from mcwbuild.contract.stage import Stage, run
from tests.support.engines import write_package


def require(args: argparse.Namespace) -> str:
    """Refuse what is asked to be refused."""
    if args.deed == "input":
        raise InputError("The toy cannot be read.", problems=[Problem("it is a toy", "toy.pt", 3, 7, "$.a")])
    if args.deed == "refused":
        raise Refused("The toy would call os.system.", "It said so.", "Do not load it.", kind="pickle")
    return str(args.deed)


def work(deed: str, bench: Bench) -> None:
    """Make a package, sound or not."""
    with bench.step("work", "on a toy") as step:
        os.write(1, b"a library prints from C\n")
        print("a library prints from Python")
        write_package(bench.out, PT)
        for written in (MANIFEST, SUMS):
            (bench.out / written).unlink()
        step.progress(1, 1)
        step.result = "done"
    if deed == "bug":
        raise ZeroDivisionError("a toy's bug")
    if deed == "sleep":
        time.sleep(60)
    if deed == "extra":
        (bench.out / "notes.txt").write_text("not declared")
    if deed == "invalid":
        (bench.out / PT.performance).write_text("{}\n")
    if deed == "gate":
        record = documents.read_json(bench.out / PT.performance).value
        check = {"name": "finite outputs", "status": "failed", "detail": "7 images gave NaN."}
        record["validation"] = {**record["validation"], "status": "failed", "checks": [check]}
        documents.write_json(bench.out / PT.performance, record)


STAGE = Stage(PT, "A toy.", lambda parser: parser.add_argument("deed") and None, require, work)

if __name__ == "__main__":
    sys.exit(run(STAGE))
