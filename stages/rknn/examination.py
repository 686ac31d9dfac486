"""What can be said without a build: of the activations, the graph, the calibration set."""

from __future__ import annotations

from mcwbuild.contract.bench import Bench
from stages.common.calibration_findings import facts, judge
from stages.common.findings import Finding, tell
from stages.rknn.calibration import Calibration
from stages.rknn.request import Request

MEASURED = 24  # of the measured images, evenly spread: enough for a mean and a spread


def _of_calibration(asked: Request, calibrated: Calibration) -> list[Finding]:
    """What is wrong with the calibration set; generated images are nobody's input and compared with nothing."""
    known = asked.images.source != "generated"
    measured = [facts(one) for one in asked.images.prepared(asked.model.contract, MEASURED)] if known else []
    return judge(calibrated.facts, measured, calibrated.leaked)


def examine(asked: Request, calibrated: Calibration | None, bench: Bench) -> tuple[Finding, ...]:
    """Everything that is found, told on `bench`. The toolkit loads and builds beside it."""
    # These load ONNX, which the children's start need not wait for.
    from stages.rknn import scan
    from stages.rknn.reference import BROKEN

    with bench.step("scan", f"activations of {scan.IMAGES} images") as step:
        images = asked.images.prepared(asked.model.contract, scan.IMAGES)
        try:
            seen = scan.scan(asked.model.path, asked.model.contract, images, asked.threads)
            found, what = seen.findings(asked.variants), f"{len(seen.ranges)} tensors, nothing found"
        except BROKEN:  # the toolkit, which uses it too, says why, with the layer
            found, what = [], "ONNX Runtime cannot run the graph"
        found += [] if calibrated is None else _of_calibration(asked, calibrated)
        step.result = ", ".join(one.name for one in found) or what
    tell(found, bench)
    return tuple(found)
