"""Damaged and hostile files and changed values in CI's size: nothing runs, nothing hangs, no change passes."""

from __future__ import annotations

from functools import partial

from tests.campaign import onnx_files
from tests.integration.test_crashes import SEED, parallel
from tests.support import checkpoint_trials, document_trials, tamper_trials

CHECKPOINTS, YAMLS, ONNX_FILES, CHANGES = 20_000, 200_000, 100_000, 4_000


def test_damaged_checkpoints_are_read_or_refused_and_never_run() -> None:
    made = parallel(partial(checkpoint_trials.run, seed=SEED), CHECKPOINTS)
    assert made.violations == []
    assert min(made.outcomes[kind] for kind in ("read", "InputError", "Refused")) > 100


def test_damaged_yaml_documents_are_accepted_or_refused() -> None:
    made = parallel(partial(document_trials.yaml_trials, seed=SEED), YAMLS)
    assert made.violations == []
    assert made.outcomes.total() == YAMLS
    assert min(made.outcomes[kind] for kind in ("accepted", "refused")) > YAMLS // 100


def test_damaged_onnx_files_are_taken_or_refused_and_open_nothing_else() -> None:
    made = parallel(partial(onnx_files.piece, seed=SEED), ONNX_FILES)
    assert made.violations == []
    assert min(made.outcomes[kind] for kind in ("taken", "InputError")) > ONNX_FILES // 100


def test_no_change_of_a_critical_value_passes_a_boundary() -> None:
    made = parallel(partial(tamper_trials.run, seed=SEED), CHANGES)
    assert made.violations == []
    assert made.outcomes["changed, refused"] > 100
    assert made.outcomes["the same, passed"] > 100
