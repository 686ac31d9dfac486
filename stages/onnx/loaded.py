"""What a fork server of this phase imports: all that takes long."""

from __future__ import annotations

import stages.onnx.make
import stages.onnx.record
import stages.onnx.stage  # noqa: F401
