"""report.json: what the page shows, as data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mcwbuild import __version__
from mcwbuild.report import ledger
from mcwbuild.report.page import pictures
from mcwbuild.report.page.told import Told


def of(told: Told) -> dict[str, Any]:
    """The report as JSON data, as schemas/report.schema.json has it; paths are relative to the run's folder."""
    (run,) = ledger.as_json([told.run])
    return {
        "schema": "report/1",
        "created": told.created,
        "version": __version__,
        "model": {**run["model"], "metric": told.metric},
        "dataset": run["dataset"],
        "targets": list(told.targets),
        "status": told.status,
        "contract_sha256": told.last.source.get("contract_sha256"),
        "phases": [asdict(phase) for phase in told.phases],
        "models": run["models"],
        "issues": [dict(issue) for issue in told.issues],
        "changes": pictures.counted(told.found),
        "images": [{"name": one.name, "changes": dict(one.counts)} for one in told.pictures],
        "packages": [str(package.folder.relative_to(told.run.folder)) for package in told.run.packages],
    }
