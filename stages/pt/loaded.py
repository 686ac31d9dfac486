"""What a fork server of this phase imports: all that takes long."""

from __future__ import annotations

import stages.pt.baseline
import stages.pt.stage  # noqa: F401
