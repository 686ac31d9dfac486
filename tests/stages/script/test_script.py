"""How npu_inference.py is put together: constant code, one string with data, nothing of the project inside."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.tasks import TASKS
from stages.families import DECODINGS
from stages.families.shapes import _SHAPES
from stages.rknn import script

TEXTS = st.text() | st.sampled_from(["'''", '"""', "\\", "{{x}}", "%s", "\n", "\u2028", "\ud800", "# noqa", "\\u0041"])


@settings(deadline=None)
@given(st.dictionaries(TEXTS, TEXTS | st.integers() | st.lists(TEXTS)))
def test_data_are_one_ascii_string_that_gives_them_back(data: dict[str, Any]) -> None:
    whole = script.script("yolo_dfl", data)
    assert whole.isascii()
    (assigned,) = [
        node.value
        for node in ast.parse(whole).body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DATA"
    ]
    assert isinstance(assigned, ast.Constant)
    assert json.loads(assigned.value) == data


@settings(deadline=None)
@given(TEXTS)
def test_the_code_is_the_same_whatever_the_data(name: str) -> None:
    lines = script.script("yolo_dfl", {"names": [name]}).splitlines()
    constant = [line for line in lines if not line.startswith("DATA = ")]
    assert constant == [line for line in script.script("yolo_dfl", {}).splitlines() if not line.startswith("DATA = ")]
    assert script.script("yolo_dfl", {"names": [name]}).startswith(script.code("yolo_dfl"))


def test_the_code_hash_is_that_of_the_code() -> None:
    assert script.code_sha256("yolo_dfl") == hashlib.sha256(script.code("yolo_dfl").encode()).hexdigest()


@pytest.mark.parametrize("head", script.PROGRAMS)
def test_every_head_s_code_has_one_hash_whatever_the_names(head: str) -> None:
    names = ["'''", '"""', "\n\\", "{{x}}", "$(id)", "\u2028", "VIEW = 1", "a" * 3000]
    for data in ({}, {"contract": {"classes": {"names": names}}}):
        made = script.script(head, data)
        constant = made[: made.index("\nDATA = ")]
        assert hashlib.sha256(constant.encode("ascii")).hexdigest() == script.code_sha256(head)
        assert made.count("\nDATA = ") == 1
        assert made.splitlines()[-2:] == ['if __name__ == "__main__":', "    sys.exit(main(json.loads(DATA), VIEW))"]


def test_each_part_says_where_it_is_from() -> None:
    code = script.code("yolo_poses")
    for path in script.sources("yolo_poses"):
        assert f"\n# stages/{path.as_posix().rpartition('/stages/')[2]}: " in code


def test_values_that_are_no_json_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        script.script("yolo_dfl", {"iou": float("nan")})


HEADS = pytest.mark.parametrize("head", script.PROGRAMS)


@HEADS
def test_it_parses_as_python_3_8(head: str) -> None:
    ast.parse(script.script(head, {}), feature_version=(3, 8))


def test_every_head_that_is_decoded_has_a_script() -> None:
    assert script.PROGRAMS.keys() == {head for family in DECODINGS for head in family.heads} == _SHAPES.keys()
    assert {family.task for family in DECODINGS} == TASKS.keys()


@HEADS
def test_it_imports_nothing_but_the_standard_library_numpy_opencv_or_pillow_and_the_runtime(head: str) -> None:
    imported = set()
    for node in ast.walk(ast.parse(script.code(head))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - set(sys.stdlib_module_names) == {"PIL", "cv2", "numpy", "rknnlite"}


@HEADS
def test_it_passes_the_linter_as_python_3_8(tmp_path: Path, head: str) -> None:
    made = tmp_path / "npu_inference.py"
    made.write_text(script.script(head, {"names": ["a" * 500]}), "ascii")
    ruff = Path(sys.executable).with_name("ruff")
    rules = "E,F,W,I,B,SIM,C4,RET,UP,ARG"
    command = [ruff, "check", "--isolated", "--target-version", "py38", "--line-length", "120", "--select", rules, made]
    done = subprocess.run(command, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout


@HEADS
def test_every_name_has_one_owner(head: str) -> None:
    names = [name for path in script.sources(head) for name in script._defined(ast.parse(path.read_text("utf-8")))]
    assert len(names) == len(set(names))
