"""What several verbs need before a plan: the dataset, the name, what lies in the output folder already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mcwbuild import inspection, pipeline, plan, published
from mcwbuild.contract import artefacts, dataset, documents, look, names, validate
from mcwbuild.contract.dataset import Dataset
from mcwbuild.contract.errors import InputError, McwbuildError, Problem
from mcwbuild.contract.phases import RKNN
from mcwbuild.engines import Wanted
from mcwbuild.options import Settings
from mcwbuild.pipeline import Outcome
from mcwbuild.plan import Step
from mcwbuild.store import Store

if TYPE_CHECKING:
    from mcwbuild.engines.dask.cluster import Cluster

Result = TypeVar("Result")


@dataclass(frozen=True)
class Inputs:
    """What the command's files say: the dataset that `--data` names, and `model.name` of the source document."""

    dataset: Dataset | None
    name: str | None


def read(model: Path, settings: Settings, source: Path | None, schema: str) -> Inputs:
    """Look at every file that the command names. Raises one InputError with everything that is wrong with them."""
    errors: list[InputError] = []

    def attempt(check: Callable[[Path], Result], path: Path | None) -> Result | None:
        try:
            return None if path is None else check(path)
        except InputError as error:
            errors.append(error)
            return None

    files = [path for path in (model, source, settings["data"], settings["dataset"]) if path is not None]
    for path in files:
        attempt(lambda path: names.require_file_names([path]), path)
    attempt(_require_model, model)
    name = attempt(lambda path: _model_name(path, schema), source)
    found = attempt(dataset.read, settings["data"])
    attempt(dataset.read_list, settings["dataset"])
    if len(errors) == 1:
        raise errors[0]
    if errors:
        problems = [problem for error in errors for problem in error.problems or [Problem(str(error))]]
        raise InputError(
            f"{len(errors)} inputs cannot be used.", remedy="Mend them and try again.", problems=problems, kind="inputs"
        )
    return Inputs(found, name)


def _require_model(path: Path) -> None:
    if not look.is_file(path):
        found = "It is a folder." if look.is_folder(path) else "There is no such file."
        raise InputError(f"{path} cannot be read.", found, "Give the path of the model file.", kind="missing")


def _model_name(source: Path, schema: str) -> str | None:
    (document,) = validate.require_all([(source, schema)])
    name = document.value["model"].get("name")
    return str(name) if name else None


def sibling(path: Path, name: str) -> Path | None:
    """A file that lies beside `path`, if it is there."""
    found = path.parent / name
    return found if found.is_file() else None


def made_by_mcwbuild(onnx: Path) -> bool:
    """Whether the ONNX file carries the contract that the onnx phase writes into its metadata.

    Raises InputError where it is there and cannot be read; a file that is missing is told with all other inputs.
    """
    return look.is_file(onnx) and "mcwbuild.contract" in artefacts.read_onnx(onnx).metadata


def targets_there(steps: Sequence[Step]) -> dict[Path, str]:
    """The targets of the rknn packages that the steps would replace."""
    there: dict[Path, str] = {}
    for step in steps:
        source = step.package / RKNN.source
        if step.phase is RKNN and look.is_file(source):
            try:
                there[step.package] = str(documents.read_yaml(source).value["rknn"]["platform"]["target"])
            except (McwbuildError, KeyError, TypeError):
                continue  # not a package that anyone can use: it may be replaced
    return there


def wanted(settings: Settings) -> Wanted:
    """What the options ask of the engine."""
    return Wanted(settings["memory"], settings["toolkit_version"], plan.trusts(settings), cluster(settings))


def cluster(settings: Settings) -> Cluster | None:
    """The cluster of the dask engine, where the options name one. Raises InputError."""
    if settings["scheduler"] is None:
        return None
    from mcwbuild.engines.dask import cluster as clusters

    tls = (settings[f"dask_tls_{name}"] for name in ("ca", "cert", "key"))
    return clusters.given(settings["scheduler"], settings["shared_folder"], settings["worker_engine"], *tls)


def store(settings: Settings) -> Store | None:
    """The store, where the options ask for it; None with --no-store."""
    return the_store(settings) if settings["store"] else None


def the_store(settings: Settings) -> Store:
    """The store of this machine's cache."""
    from mcwbuild.engines.local import cache_folder

    return Store(cache_folder() / "store", settings["store_limit"])


def _page(out: Path, outcomes: Sequence[Outcome]) -> Path | None:
    """The run's report, drawn from its packages; None where the disk does not take it, which is told."""
    from mcwbuild.report import console, ledger, page

    there = out / page.HTML
    if look.is_file(there) and all(outcome.state == "fresh" for outcome in outcomes):
        return there
    found, _wrong = published.read_all(published.find(out))
    run = next((run for run in ledger.runs(found) if run.folder == out), None)
    if run is None:
        return None
    try:
        return page.write(run, out)
    except OSError as error:
        console.show_note(f"warning: {there} cannot be written: {error.strerror or error}")
        return None


def drive(steps: Sequence[Step], settings: Settings, out: Path, as_json: bool, at_once: int = 1) -> int:
    """Run the steps, show the ledger, and return the exit code. Raises what the pipeline raises; `at_once` is its."""
    from mcwbuild.engines import choose
    from mcwbuild.report import console
    from mcwbuild.report.rows import rows

    reporter = console.reporter(settings["progress"])
    try:
        engine = choose(settings["engine"], wanted(settings), reporter.emit)
        outcomes = pipeline.execute(
            steps, engine, out, reporter, strict=settings["strict"], store=store(settings), at_once=at_once
        )
    finally:
        reporter.close()
    table = [
        row
        for o in outcomes
        for row in rows(
            o.performance, o.step.phase, o.step.target, inspection.board_record(o.step.package, o.step.phase)
        )
    ]
    missed = pipeline.missed_gates(outcomes)
    page = _page(out, outcomes)
    if as_json:
        console.show_json(
            {
                "packages": [
                    {"step": o.step.name, "package": str(o.step.package), "state": o.state, "seconds": o.seconds}
                    for o in outcomes
                ],
                "models": [row.as_dict() for row in table],
                "missed": None if missed is None else missed.as_dict(),
                "report": None if page is None else str(page),
            }
        )
    else:
        console.show_rows(table, outcomes)
        if page is not None:
            console.show_line(f"report: {page}")
    if missed is not None:
        raise missed
    return 0
