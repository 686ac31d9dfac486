"""Many models: what is wrong with a list, several at once, one that fails alone, a kill and a resume."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mcwbuild import options
from mcwbuild.batch import listing, running
from mcwbuild.cli import batch as cli
from mcwbuild.contract import validate
from mcwbuild.contract.errors import InputError
from mcwbuild.report import summary
from mcwbuild.report.page import fleet
from tests.support.browser import THEMES, WIDTHS, Page, browser, chromium
from tests.support.commands import MCWBUILD, ROOT, mcwbuild

LIST = """# three of the examples, and one that is broken
examples/classification/best.pt data=examples/classification/data name=cls
examples/pose/best.pt data=examples/pose/data.yaml name=pose   # keypoints
"broken one.pt" name=broken data=examples/pose/data.yaml
"""


def folder_of(path: Path) -> Path:
    """A folder with the list, the examples, and a checkpoint that ends early."""
    path.mkdir()
    (path / "examples").symlink_to(ROOT / "examples")
    (path / "models.txt").write_text(LIST)
    (path / "broken one.pt").write_bytes((ROOT / "examples" / "pose" / "best.pt").read_bytes()[:5000])
    return path


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A batch that was killed in the middle with all its runs, and begun again."""
    folder = folder_of(tmp_path_factory.mktemp("batch") / "work")
    words = ("batch", "--models", "models.txt", "--target", "rk3588", "--target", "rk3576", "--tune", "off")
    process = subprocess.Popen(
        [*MCWBUILD, *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True
    )
    done = folder / "build" / "cls" / "pt_package" / "SHA256SUMS"
    until = time.monotonic() + 120
    while not done.is_file() and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    again = mcwbuild(*words, "--json", cwd=folder)
    assert again.code == 7, again.stderr
    return folder, json.loads(again.stdout)


def test_one_that_is_broken_fails_alone(batch: tuple[Path, dict[str, Any]]) -> None:
    _, made = batch
    states = {one["name"]: one["state"] for one in made["models"]}
    assert states == {"cls": "done", "pose": "done", "broken": "failed"}
    assert made["counts"] == {"done": 2, "gate_failed": 0, "failed": 1, "not_run": 0}
    broken = made["models"][-1]
    assert broken["code"] == 2
    assert "not a whole checkpoint" in broken["error"]
    assert "Traceback" not in broken["error"]


def test_every_target_of_a_model_has_its_package_and_they_share_the_onnx(batch: tuple[Path, dict[str, Any]]) -> None:
    folder, made = batch
    for name in ("cls", "pose"):
        for target in ("rk3588", "rk3576"):
            assert mcwbuild("verify", folder / "build" / name / target, cwd=folder).code == 0
        logs = [path.name for path in (folder / "build" / name / "logs").iterdir()]
        assert sorted(logs) == ["onnx.log", "pt.log", "rknn-rk3576.log", "rknn-rk3588.log"]
    cells = summary.columns(made)
    assert cells == [("rk3576", "fp16"), ("rk3576", "int8"), ("rk3588", "fp16"), ("rk3588", "int8")]
    assert all(summary.cell(made["models"][0], column)["accuracy"] > 0.5 for column in cells)  # type: ignore[index]


def test_a_second_time_nothing_is_done(batch: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = batch
    words = ("batch", "--models", "models.txt", "--target", "rk3588,rk3576", "--tune", "off", "--json", "--jobs", "2")
    made = json.loads(mcwbuild(*words, cwd=folder).stdout)
    assert [one["fresh"] for one in made["models"]] == [True, True, False]


def test_the_summary_is_as_its_schema_says_and_junit_counts_the_same(batch: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = batch
    validate.require_all([(folder / "build" / "summary.json", "summary")])
    suite = ElementTree.fromstring((folder / "build" / "junit.xml").read_bytes())
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("3", "1", "0")
    assert suite.find("testcase[@name='broken']/error") is not None
    assert (folder / "build" / "summary.md").read_text("utf-8").startswith("| model | state | rk3576 FP16 |")


@pytest.mark.skipif(chromium() is None, reason="no Chromium is here to look at the page with")
def test_the_heat_map_in_a_browser(batch: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = batch
    with browser() as opened:
        for width in WIDTHS.values():
            for theme in THEMES:
                shown = Page(opened, folder / "build" / "report.html", width, theme)
                assert (shown.wider(), shown.violations(), shown.complaints) == ([], [], [])
        assert shown.count("td.heat-0, td.heat-1") >= 4
        assert shown.count("a[href='cls/report.html']") == 1


def test_fail_fast_ends_the_others(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "work")
    lines = LIST.splitlines()
    (folder / "models.txt").write_text("\n".join([lines[3], lines[1], lines[2]]))
    done = mcwbuild(
        "batch", "--models", "models.txt", "--target", "rk3588", "--fail-fast", "--jobs", "1", "--json", cwd=folder
    )
    assert done.code == 7
    assert [one["state"] for one in json.loads(done.stdout)["models"]] == ["failed", "not_run", "not_run"]


def problems(folder: Path, text: str) -> list[str]:
    (folder / "list.txt").write_text(text)
    with pytest.raises(InputError) as caught:
        listing.read(folder / "list.txt")
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_everything_that_is_wrong_with_a_list_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"")
    (tmp_path / "b.pt").write_bytes(b"")
    told = problems(
        tmp_path,
        "a.pt dtype=int4 colour=red\nmissing.pt\n'a.pt\nb.pt name=x data=nothing.yaml\na.pt  name=x\n"
        "*.pt name=y size=0\n'a.pt' \"name=int4\"\tdtype='int4' 'size=1 2\n\ta.pt dtype  'data'=\n",
    )
    assert [line.split(" ", 1)[0] for line in told] == [
        "list.txt:1:17:", "list.txt:3:1:", "list.txt:7:33:", "list.txt:8:7:", "list.txt:8:14:", "list.txt:1:6:",
        "list.txt:2:1:", "list.txt:4:13:", "list.txt:6:13:", "list.txt:6:6:", "list.txt:5:7:", "list.txt:6:6:",
        "list.txt:8:2:",
    ]  # fmt: skip
    assert problems(tmp_path, "# nothing\n\n") == ["list.txt: no model is listed"]


def test_an_option_of_a_yaml_list_is_told_at_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"")
    (tmp_path / "list.yaml").write_text(
        "models:\n  - path: a.pt\n    name: x\n    data: nothing.yaml\n  - {path: b.pt}\n"
    )
    with pytest.raises(InputError) as caught:
        listing.read(tmp_path / "list.yaml")
    assert [(one.line, one.column) for one in caught.value.problems] == [(4, 11), (5, 5)]


def test_patterns_quotes_and_options_of_one_s_own(tmp_path: Path) -> None:
    for name in ("runs/one/weights/best.pt", "runs/two/weights/best.pt", "a b.onnx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "list.txt").write_text(
        "runs/*/weights/best.pt dtype=int8\n'a b.onnx' target=rk3588,rk3576 size=320,640\n"
    )
    found = listing.read(tmp_path / "list.txt")
    assert [one.name for one in found] == ["one", "two", "a b"]
    assert found[0].own == {"dtype": "int8", "name": "one"}
    assert found[2].own == {"target": "rk3588,rk3576", "imgsz": "320,640", "name": "a b"}
    (tmp_path / "list.yaml").write_text(
        "models:\n  - {path: 'runs/*/weights/best.pt', dtype: int8}\n"
        "  - {path: a b.onnx, target: [rk3588, rk3576], size: [320, 640]}\n"
    )
    assert [(one.name, one.own) for one in listing.read(tmp_path / "list.yaml")] == [
        (one.name, one.own) for one in found
    ]


@pytest.mark.parametrize(
    ("gate", "drop", "colour"),
    [("passed", -0.1, "0"), ("passed", 1.0, "1"), ("passed", 4.9, "3"), ("failed", 6.0, "4"), ("undecided", 4.0, "u")],
)
def test_a_cell_s_colour_is_the_share_of_its_limit(gate: str, drop: float, colour: str) -> None:
    assert fleet.heat({"accuracy": 0.5, "gate": gate, "drop_percent": drop, "limit_percent": 5.0}) == colour
    assert fleet.heat(None) == "n"


def test_a_remark_begins_where_a_word_would(tmp_path: Path) -> None:
    (tmp_path / "a#1.pt").write_bytes(b"")
    (tmp_path / "list.txt").write_text("a#1.pt name=x#2 dtype=int8 # a remark 'with a quote\n  # another\n")
    (found,) = listing.read(tmp_path / "list.txt")
    assert (found.model.name, found.own) == ("a#1.pt", {"dtype": "int8", "name": "x#2"})


def test_what_models_leave_of_the_machine_is_for_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_available", lambda: 24 << 30)  # eight builds
    chosen = options.resolve({"threads": "16"}, {})
    assert cli._share(chosen, None, [3]) == (1, 16, 3)  # one model, three builds
    assert cli._share(chosen, None, [3, 3]) == (2, 8, 3)
    assert cli._share(chosen, None, [3, 3, 3]) == (3, 5, 2)  # 8 of 9 builds, 2 of each model
    assert cli._share(chosen, None, [2] * 50) == (8, 2, 1)
    assert cli._share(chosen, 2, [3, 3, 3]) == (2, 8, 1)
    words = cli.commands(chosen, 8, 3)(listing.Listed(Path("a.pt"), "a", {}, "list.txt:1"), Path("out"))
    assert words[words.index("--jobs") + 1] == "3"
