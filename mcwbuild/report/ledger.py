"""The ledger of a run: a column for each model, a line for each figure, and below it what was not measured and why."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcwbuild.contract.performance import main_metric_of
from mcwbuild.contract.terminal import cell_text, visible
from mcwbuild.published import Published
from mcwbuild.report import console
from mcwbuild.report.rows import Row, drop_text, limit_text, rows
from mcwbuild.report.text import count_text, size_text

PARTS = ("pre", "inference", "post")
PERCENTILES = ("p50", "p90", "p99")
_GAP = 2  # columns between two cells
Line = tuple[str, Callable[[Row], str | None]]


@dataclass(frozen=True)
class Run:
    """The packages of one run and their rows, in the order of the phases."""

    folder: Path
    packages: tuple[Published, ...]
    rows: tuple[Row, ...]


def runs(packages: Sequence[Published]) -> list[Run]:
    """The packages, gathered by the folders of their runs."""
    gathered: dict[Path, list[Published]] = {}
    for package in packages:
        gathered.setdefault(package.run, []).append(package)
    return [
        Run(folder, tuple(own), tuple(row for one in own for row in _rows(one)))
        for folder, own in sorted(gathered.items())
    ]


def _rows(one: Published) -> Iterator[Row]:
    return rows(one.performance, one.phase, one.target, one.board)


def as_json(made: Sequence[Run]) -> list[dict[str, Any]]:
    """All figures as data."""
    return [
        {
            "run": str(run.folder),
            "packages": [str(package.folder) for package in run.packages],
            "model": _model(run),
            "dataset": _dataset(run),
            "models": [row.as_dict() for row in run.rows],
        }
        for run in made
    ]


def show(made: Sequence[Run], width: int | None = None) -> None:
    """The tables, for people."""
    for run in made:
        console.show_line(_title(run))
        for header, body in blocks(run, console.columns() if width is None else width):
            console.show_table("", header, body, right=range(1, len(header)))
        for note in notes(run.rows):
            console.show_line(note)


def markdown(made: Sequence[Run], *, titled: bool = True) -> str:
    """The same tables as GitHub's Markdown; whatever a name holds, it stays in its cell."""
    parts = []
    for run in made:
        header, body = table(run.rows)
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *body]
        parts += [f"**{plain(_title(run))}**", ""] if titled else []
        parts += ["| " + " | ".join(map(plain, line)) + " |" for line in lines]
        parts += ["", *(f"- {plain(note)}" for note in notes(run.rows)), ""]
    return "\n".join(parts)


def plain(text: str) -> str:
    """The text as it is in GitHub's Markdown, whatever it holds."""
    shown = cell_text(text)
    return "".join(f"&#{ord(c)};" if c in "|<>&`*[]\\" and not shown.startswith("---") else c for c in shown)


def as_csv(made: Sequence[Run]) -> str:
    """A line for each model, its figures as the JSON has them; nested ones are joined by dots."""
    lines = [{"run": str(run.folder), **dict(_flat("", row.as_dict()))} for run in made for row in run.rows]
    names = list(dict.fromkeys(name for line in lines for name in line))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in line.items()} for line in lines)
    return stream.getvalue().rstrip("\n")


def _harmless(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    return ("'" if value[:1] in "=+-@" else "") + visible(value)


def _flat(above: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{above}.{name}" if above else name, item)
    elif isinstance(value, list | tuple):
        yield above, "; ".join(str(item) for item in value)
    else:
        yield above, value


def _title(run: Run) -> str:
    dataset = _dataset(run)
    measured = "no dataset" if dataset is None else f"{dataset['images']} images of {dataset.get('file')}"
    about = _model(run)
    return f"{run.folder}: {about['name']} ({about['type']}, {about['task']}), {measured}"


def _model(run: Run) -> Mapping[str, Any]:
    named = run.packages[0].source["model"]
    return {name: named.get(name) for name in ("name", "type", "task")}


def _dataset(run: Run) -> Mapping[str, Any] | None:
    configuration: Mapping[str, Any] = run.packages[0].performance["test_configuration"]
    dataset: Mapping[str, Any] | None = configuration["dataset"]
    return dataset


def table(all_rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and body: a line for each figure that any of the models has."""
    body = []
    for name, of in _lines(all_rows):
        found = [of(row) for row in all_rows]
        if any(text is not None for text in found):
            body.append([name, *(text or "-" for text in found)])
    return ["", *(row.model for row in all_rows)], body


def blocks(run: Run, width: int) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The table in parts that are no wider than `width`, each with the figures' names."""
    header, body = table(run.rows)
    widths = [max(len(cell_text(line[place])) for line in (header, *body)) + _GAP for place in range(len(header))]
    place = 1
    while place < len(header):
        end, room = place + 1, width - widths[0] - widths[place]
        while end < len(header) and widths[end] <= room:
            room -= widths[end]
            end += 1
        yield [header[0], *header[place:end]], [[line[0], *line[place:end]] for line in body]
        place = end


def _lines(all_rows: Sequence[Row]) -> Iterator[Line]:
    """Every line that there can be, in its order."""
    main = dict.fromkeys(row.metric for row in all_rows if row.metric in row.metrics)
    for name in dict.fromkeys((*main, *(name for row in all_rows for name in row.metrics))):
        yield name, lambda row, name=name: _figure(row.metrics.get(name), 4)  # type: ignore[misc]
    absolute = any(row.limit_absolute is not None for row in all_rows)
    yield "drop" if absolute else "drop, %", lambda row: _unless("-", drop_text(row))
    yield "  95 % interval", _interval
    yield "  limit", lambda row: _unless("-", limit_text(row))
    yield "gate", lambda row: _unless("-", row.gate)
    yield "lowest cosine", lambda row: _figure(row.cosine, 5)
    for name in dict.fromkeys(name for row in all_rows for name in _agreement(row)):
        yield f"agr. {name}", lambda row, name=name: _figure(_agreement(row).get(name), 4)  # type: ignore[misc]
    for percentile in PERCENTILES:
        name = f"latency {percentile}, ms" if percentile == "p50" else f"  {percentile}"
        yield name, lambda row, p=percentile: _latency(row, ("total",), p)  # type: ignore[misc]
    yield "  pre/net/post", lambda row: _latency(row, PARTS, "p50")
    yield "FPS", lambda row: _figure(row.fps, 1)
    yield "  all cores", lambda row: _figure(row.fps_all_cores, 1)
    yield "  times ONNX on CPU", lambda row: _figure(row.speedup, 2)
    yield "device", lambda row: row.device
    yield "threads", lambda row: None if row.threads is None else str(row.threads)
    yield "size", lambda row: None if row.size is None else size_text(row.size)
    yield "parameters", lambda row: _count(row.parameters)
    yield "FLOPs", lambda row: _count(row.flops)
    yield "estimated cycles", lambda row: _count(_estimate(row, "cycles"))
    yield "  ms at 1 GHz", lambda row: _figure(_estimate(row, "ms_at_1_ghz"), 2)
    yield "  traffic", lambda row: _kilobytes(row, "traffic_kb")
    yield "  memory", lambda row: _kilobytes(row, "internal_memory_kb", "weight_memory_kb")


def _figure(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _unless(nothing: str, text: str) -> str | None:
    return None if text == nothing else text


def _interval(row: Row) -> str | None:
    if row.interval is None:
        return None
    low, high = row.interval
    digits = 2 if row.limit_absolute is None else 4
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _agreement(row: Row) -> dict[str, float | None]:
    """The main metric of the agreement with the phase before, where there is no accuracy."""
    if row.accuracy is not None or not row.agreement:
        return {}
    name = main_metric_of(row.agreement)
    return {name: row.agreement.get(name)}


def _latency(row: Row, parts: Sequence[str], percentile: str) -> str | None:
    found = [((row.latency or {}).get(part) or {}).get(percentile) for part in parts]
    return None if None in found else "/".join(f"{value:.1f}" for value in found)


def _estimate(row: Row, name: str) -> float | None:
    value = (row.estimated or {}).get(name)
    return value if isinstance(value, int | float) else None


def _count(value: float | None) -> str | None:
    return None if value is None else count_text(value)


def _kilobytes(row: Row, *names: str) -> str | None:
    found = [value for name in names if (value := _estimate(row, name)) is not None]
    return size_text(1000 * sum(found)) if found else None


def notes(all_rows: Sequence[Row]) -> Iterator[str]:
    """Below the table: the devices, what was not measured and why, what is estimated, and what was found."""
    yield from together(("device", _device(row), row.model) for row in all_rows)
    yield from together(
        (f"no {', '.join(names)}", reason, row.model)
        for row in all_rows
        for reason, names in _by_reason(row.unmeasured).items()
    )
    yield from together(
        ("estimated", str(row.estimated["note"]), row.model)
        for row in all_rows
        if row.estimated is not None and "note" in row.estimated
    )
    yield from together(("gate", row.remark, row.model) for row in all_rows if row.gate not in ("passed", "-"))
    yield from together(("not the chip", row.remark, row.model) for row in all_rows if row.device == "stand-in")
    yield from together(("failed", check, row.model) for row in all_rows for check in row.failed_checks)
    yield from together(("found", issue, row.model) for row in all_rows for issue in row.issues)


def _device(row: Row) -> str:
    parts = (row.device, row.device_model, f"on {row.cpu}" if row.cpu else None)
    return " ".join(part for part in parts if part)


def _by_reason(unmeasured: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in unmeasured.items():
        found.setdefault(reason, []).append(name)
    return found


def together(said: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """`what (models): text`, once for all models of which it is true."""
    gathered: dict[tuple[str, str], list[str]] = {}
    for what, text, model in said:
        if text and text != "-":
            gathered.setdefault((what, text), []).append(model)
    return (f"{what} ({', '.join(models)}): {text}" for (what, text), models in gathered.items())
