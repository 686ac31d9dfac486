"""What several verbs need before a plan: the dataset, the name, what lies in the output folder already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mcwbuild import pipeline
from mcwbuild.contract import dataset, documents, validate
from mcwbuild.contract.errors import InputError, McwbuildError, Problem
from mcwbuild.contract.phases import RKNN
from mcwbuild.options import Settings
from mcwbuild.plan import Step


def require_model(path: Path) -> None:
    """The model file must be there and be a file."""
    if not path.is_file():
        found = "It is a folder." if path.is_dir() else "There is no such file."
        raise InputError(f"{path} cannot be read.", found, "Give the path of the model file.", kind="missing")


def read_dataset(settings: Settings) -> dataset.Dataset | None:
    """The dataset that `--data` names, or None."""
    return dataset.read(settings["data"]) if settings["data"] is not None else None


def source_name(source: Path | None, schema: str) -> str | None:
    """`model.name` of a source document, which is checked against its schema on the way."""
    if source is None:
        return None
    document = documents.read_yaml(source)
    validate.require(document, schema)
    name = document.value["model"].get("name")
    return str(name) if name else None


def sibling(path: Path, name: str) -> Path | None:
    """A file that lies beside `path`, if it is there."""
    found = path.parent / name
    return found if found.is_file() else None


def targets_there(steps: Sequence[Step]) -> dict[Path, str]:
    """The targets of the rknn packages that the steps would replace."""
    there: dict[Path, str] = {}
    for step in steps:
        source = step.package / RKNN.source
        if step.phase is RKNN and source.is_file():
            try:
                there[step.package] = str(documents.read_yaml(source).value["rknn"]["platform"]["target"])
            except (McwbuildError, KeyError, TypeError):
                continue  # not a package that anyone can use: it may be replaced
    return there


def drive(steps: Sequence[Step], settings: Settings, out: Path, as_json: bool) -> int:
    """Run the steps, show the ledger, and return the exit code. Raises what the pipeline raises."""
    from mcwbuild.engines import choose
    from mcwbuild.report import console
    from mcwbuild.report.rows import rows

    reporter = console.reporter(settings["progress"])
    try:
        outcomes = pipeline.execute(steps, choose(settings["engine"]), out, reporter)
    finally:
        if isinstance(reporter, console.LiveReporter):
            reporter.close()
    table = [row for outcome in outcomes for row in rows(outcome)]
    missed = pipeline.missed_gates(outcomes)
    if as_json:
        console.show_json(
            {
                "packages": [
                    {"step": o.step.name, "package": str(o.step.package), "state": o.state, "seconds": o.seconds}
                    for o in outcomes
                ],
                "models": [row.as_dict() for row in table],
                "missed": None if missed is None else missed.as_dict(),
            }
        )
    else:
        console.show_rows(table, outcomes)
    if missed is not None:
        raise missed
    return 0


def require_images(settings: Settings) -> None:
    """The files that `--data`, `--dataset` and `--source` name must be there; all that are not, at once."""
    named = {name: settings[name] for name in ("data", "dataset", "source") if settings[name] is not None}
    missing = [Problem(f"--{name}: there is no such file", file=str(p)) for name, p in named.items() if not p.is_file()]
    if missing:
        raise InputError("A file that the options name is missing.", problems=missing, kind="missing")
