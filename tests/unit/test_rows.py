"""What the table shows of a record: agreement where there is no accuracy, and the names of findings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mcwbuild.contract.phases import ONNX, RKNN
from mcwbuild.report.rows import cells, rows

EXAMPLES = Path(__file__).parents[1] / "contract" / "examples" / "valid"


def record(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EXAMPLES / name).read_text("utf-8"))
    return found


def finding(name: str, **evidence: Any) -> dict[str, Any]:
    return {"phase": "rknn", "name": name, "what": "It is so.", "evidence": evidence}


def test_agreement_stands_where_there_is_no_accuracy() -> None:
    made = record("performance_onnx/generated_images.json")
    made["comparison_with_pt"]["agreement"] = {"confidence": 0.25, "images": 16, "map50_95": 0.98765}
    (row,) = rows(made, ONNX, None)
    assert cells(row)[1] == "agr. 0.988"
    assert row.accuracy is None
    assert row.remark.endswith(
        "agr. is map50_95 against the results of the phase before on 16 images: agreement, no accuracy."
    )


def test_accuracy_stands_before_agreement() -> None:
    made = record("performance_onnx/labelled.json")
    made["comparison_with_pt"]["agreement"] = {"confidence": 0.25, "images": 16, "map50_95": 0.98765}
    (row,) = rows(made, ONNX, None)
    assert cells(row)[1].startswith("mAP ")
    assert "agr." not in row.remark
    assert row.as_dict()["agreement"]["map50_95"] == 0.98765


def test_findings_are_named_with_the_precision_that_they_are_about() -> None:
    made = record("performance_rknn/both.json")
    made["issues"] = [
        {"phase": "rknn", "what": "A gate."},
        finding("calibration-few", images=4),
        finding("dead-scores", variant="int8"),
        finding("saturated-output", variant="int8", output="a"),
        finding("saturated-output", variant="int8", output="b"),
    ]
    fp16, int8 = rows(made, RKNN, "rk3588")
    assert fp16.findings == ("calibration-few",)
    assert int8.findings == ("calibration-few", "dead-scores", "saturated-output")
