"""What a fork server of this phase imports: all that takes long, the toolkit with it."""

from __future__ import annotations

import onnxruntime  # noqa: F401

import stages.rknn.phase
import stages.rknn.shared
import stages.rknn.simulate
import stages.rknn.stage  # noqa: F401
from stages.rknn.toolkit import Toolkit

Toolkit()  # loads it, and what its objects need
