"""What `verify` finds beside the sums."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcwbuild import inspection
from mcwbuild.contract import manifest
from mcwbuild.contract.phases import ONNX, RKNN, Phase
from tests.support.engines import write_package


@pytest.mark.parametrize(("phase", "name"), [(ONNX, "best.onnx"), (RKNN, "best_int8.rknn")])
def test_a_model_that_was_exchanged_is_told_although_the_sums_are_new(tmp_path: Path, phase: Phase, name: str) -> None:
    package = tmp_path / phase.package
    write_package(package, phase)
    assert inspection.inspect(package, phase) == []
    model = bytearray((package / name).read_bytes())
    place = model.find(b"\x7f") if b"\x7f" in model else len(model) // 2
    (package / name).write_bytes(bytes(model[:place]) + bytes([model[place] ^ 1]) + bytes(model[place + 1 :]))
    manifest.add(package, name)
    assert manifest.verify(package) == []
    (error,) = inspection.inspect(package, phase)
    assert error.kind == "contract"
    assert name in str(error.problems[0])
