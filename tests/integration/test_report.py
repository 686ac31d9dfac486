"""The page that a run ends with, in a real browser: phone, laptop and paper, light and dark."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcwbuild import pipeline, plan, published
from mcwbuild.contract import documents, results, validate
from mcwbuild.contract.events import Emit
from mcwbuild.contract.phases import PHASES
from mcwbuild.engines import StageCall
from mcwbuild.options import resolve
from mcwbuild.report import ledger, page
from tests.support.browser import PRINT_WIDTH, THEMES, WIDTHS, Page, browser, chromium
from tests.support.cache_trials import Silent
from tests.support.commands import mcwbuild
from tests.support.engines import FakeEngine, write_outcome, write_package

MOST = 3_000_000  # bytes of a page with 16 images
HOSTILE = (
    "<img src=x onerror=alert(1)>", "</title><script>alert(2)</script>", "\" onmouseover=\"alert(3)", "' -- {{ 7*7 }}",
    "{% raw %}", "${jndi:x}", "javascript:alert(4)", "]]><svg onload=alert(5)>", "a|b`c*d_e[f](http://x)", "&lt;b&gt;",
    "检出器" * 30, "مرحبا", "👩‍👩‍👧", "x" * 200, "::error::",
)  # fmt: skip
needs_chromium = pytest.mark.skipif(chromium() is None, reason="no Chromium is here to look at the page with")


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with browser() as started:
        yield started


def test_a_run_ends_with_a_page_its_markdown_and_its_data(example: Path) -> None:
    file = example / page.HTML
    assert json.loads((example.parents[1] / "run.json").read_text())["report"] == f"build/{example.name}/{page.HTML}"
    assert file.stat().st_size < MOST
    (data,) = validate.require_all([(example / page.DATA, "report")])
    assert data.value["status"] == "passed"
    assert len(data.value["images"]) == results.PICTURES
    assert (example / page.MARKDOWN).read_text("utf-8").startswith("### ✓ shapes")
    text = file.read_text("utf-8")
    assert "<script" not in text
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


def test_what_is_drawn_is_what_was_measured(example: Path) -> None:
    """The area under the precision is map50, and the objects of the pictures are as many as the record has."""
    for name in ("pt", "onnx"):
        phase = PHASES[name]  # type: ignore[index]
        record = documents.read_json(example / phase.package / phase.performance).value
        found = results.read(example / phase.package / phase.results)
        curve = found.models[name].curve
        assert curve is not None
        assert sum(curve) / len(curve) == pytest.approx(record["accuracy_metrics"]["map50"], abs=1e-3)
        assert len(found.models[name].images) == 128


def test_it_is_drawn_again_from_the_packages_alone(example: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(example, tmp_path / "run"))
    for name in (page.HTML, page.MARKDOWN, page.DATA):
        (copy / name).unlink()
    assert mcwbuild("report", copy, cwd=tmp_path).code == 0
    for name in (page.HTML, page.MARKDOWN):
        assert (copy / name).read_bytes() == (example / name).read_bytes()
    shutil.rmtree(copy / "rknn_package")
    (copy / "onnx_package" / "results_onnx.json").unlink()
    done = mcwbuild("report", copy, cwd=tmp_path)
    assert done.code == 6  # a package that is not whole is told; the page has the others
    assert "has not been run, or its package is not sound" in (copy / page.HTML).read_text("utf-8")


@needs_chromium
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_nothing_is_too_wide_wrong_or_fetched(opened: Any, example: Path, width: int, theme: Any) -> None:
    shown = Page(opened, example / page.HTML, width, theme)
    assert shown.wider() == []
    assert shown.violations() == []
    assert shown.complaints == []


@needs_chromium
def test_it_is_printed_whole_on_light_paper(opened: Any, example: Path, tmp_path: Path) -> None:
    shown = Page(opened, example / page.HTML, PRINT_WIDTH, "dark")
    shown.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").stat().st_size > 50_000
    shown.print_view()
    assert shown.wider() == []
    assert shown.violations() == []


@needs_chromium
def test_the_keyboard_reaches_everything_and_the_theme_can_be_chosen(opened: Any, example: Path) -> None:
    shown = Page(opened, example / page.HTML, 1440, "light")
    reached = shown.tabbed(40)
    assert "Ledger" in reached
    assert "Table of all figures" in reached
    dark, light = shown.choose("Dark"), shown.choose("Light")
    assert dark != light
    assert light == "rgb(255, 255, 255)"


def hostile(call: StageCall, emit: Emit) -> int:
    """A stage whose model has the names that attackers give."""

    def edit(source: dict[str, Any]) -> None:
        source["classes"] = {"names": list(HOSTILE), "num_classes": len(HOSTILE)}
        source["model"]["name"] = "<script>alert(1)</script>"

    write_package(call.staging / "out", call.phase, edit)
    write_outcome(call, 0)
    return 0


@needs_chromium
def test_hostile_names_are_text(opened: Any, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    settings = resolve({"target": "rk3588"}, {}, tmp_path)
    steps = plan.run_steps(tmp_path / "best.pt", "toy", settings, None, tmp_path / "out")
    pipeline.execute(steps, FakeEngine(hostile), tmp_path / "out", Silent())
    found, wrong = published.read_all(published.find(tmp_path / "out"))
    assert not wrong
    (run,) = ledger.runs(found)
    shown = Page(opened, page.write(run, tmp_path / "out"), 1440, "light")
    assert shown.complaints == []
    assert "<script>alert(1)</script>" in shown.text()
    assert shown.count("script, iframe, object, embed, img[src^='http']") == 0
    assert shown.wider() == []
    assert "<script" not in (tmp_path / "out" / page.MARKDOWN).read_text("utf-8")
