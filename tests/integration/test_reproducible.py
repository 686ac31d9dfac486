"""`--reproducible`: the same model built twice where everything but the model differs.

Ten times: `python -m tests.campaign.reproducible`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import reproducible_trials as trials
from tests.support.commands import EXAMPLE, mcwbuild


def test_two_builds_are_the_same_to_the_last_byte(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two folders, caches, Pythons, locales, loads, numbers of threads; where this is root's run, two users too."""
    folder = tmp_path_factory.mktemp("reproducible")
    for above in (folder, *folder.parents):  # another user has to come here
        if above.name.startswith(("pytest-", "popen-", "reproducible")):
            above.chmod(0o755)
    other = trials.elsewhere(folder / "elsewhere")
    first, second = (trials.build(number, folder, other) for number in (0, 1))
    assert first == second


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take user namespaces away, in a limit of its own")
def test_where_the_kernel_gives_no_ground_that_is_told(example: Path, tmp_path: Path) -> None:
    package = example / "onnx_package"
    done = mcwbuild(
        *("convert", "--onnx", package / "best.onnx", "--source", package / "onnx_source.yaml", "--reproducible"),
        *("--dtype", "fp16", "--target", "rk3588", "--out", tmp_path / "out", "--engine", "local"),
        cwd=EXAMPLE,
        before=("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"),
    )
    assert done.code == 5, done.stderr
    assert "--reproducible cannot be kept here" in done.stderr
    assert "unshare: Operation not permitted" in done.stderr
    assert not (tmp_path / "out" / "rknn_package").exists()
