"""Why a step has to be done again: what it would be made of, held against what its package was made of."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mcwbuild import freshness
from mcwbuild.contract import documents, inherit, look, manifest
from mcwbuild.contract.errors import ContractBroken, McwbuildError
from mcwbuild.contract.phases import MANIFEST
from mcwbuild.engines import Engine
from mcwbuild.plan import Step

_INPUTS = {"--data texts": "the texts that --data lists", "--dataset images": "the images that --dataset lists"}
_ENVIRONMENT = {"code": "code of the stages", "image": "image", "python": "Python"}


@dataclass(frozen=True)
class Planned:
    """A step, whether its package is what it would make, and if not, why; `stored`: whether the store holds it."""

    step: Step
    state: Literal["fresh", "stale"]
    reasons: tuple[str, ...] = ()
    stored: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        made: dict[str, Any] = {"step": self.step.name, "phase": self.step.phase.name, "target": self.step.target}
        made |= {"package": str(self.step.package), "state": self.state, "reasons": list(self.reasons)}
        return made | {"stored": self.stored}


def plan(steps: Sequence[Step], engine: Engine, stored: Container[str] | None = None) -> tuple[Planned, ...]:
    """Each step's state, without running anything. `stored` tells of keys which the store has a package of.

    A step that reads a stale step's package is stale because of that: what it will read is not there yet.
    """
    found: list[Planned] = []
    for step in steps:
        above = [one.step.name for one in found if one.state == "stale" and _reads(step, one.step.package)]
        if above:
            found.append(Planned(step, "stale", tuple(f"the {name} step is stale" for name in above)))
            continue
        step = step.with_kept()
        parts = freshness.ingredients(step, engine.identity(step.phase), freshness.input_hashes(step))
        reasons = ("it is asked to be made anew",) if step.anew else tuple(why(step, parts))
        held = bool(reasons) and stored is not None and freshness.key_of(parts) in stored
        found.append(Planned(step, "stale" if reasons else "fresh", reasons, held))
    return tuple(found)


def _reads(step: Step, package: Path) -> bool:
    return any(path == package or package in path.parents for _, path in step.inputs)


def why(step: Step, parts: Mapping[str, Any]) -> Iterator[str]:
    """What makes the step's package stale, in a few words each; nothing where it is fresh."""
    if not look.is_folder(step.package):
        yield "there is no package"
        return
    wrong = manifest.verify(step.package)
    yield from (f"{Path(problem.file or '').name}: {problem.message}" for problem in wrong)
    recorded = freshness.recorded(step.package)
    unreadable = any((problem.file or "").endswith(MANIFEST) for problem in wrong)
    if unreadable or recorded.get("key") == freshness.key_of(parts):
        return
    before = recorded.get("ingredients")
    reasons = list(_differences(step, before, parts)) if isinstance(before, Mapping) else []
    yield from reasons or ["it does not tell what it was made of"]


def _differences(step: Step, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield from _options(*(freshness.without_threads(parts.get("options", ())) for parts in (before, now)))
    old, new = before.get("inputs", {}), now["inputs"]
    files = dict(step.inputs)
    for flag in dict.fromkeys((*old, *new)):
        if old.get(flag) == new.get(flag):
            continue
        if flag not in new:
            yield f"{_INPUTS.get(flag, flag)} is not given any more"
        elif flag not in old:
            yield f"{_INPUTS.get(flag, flag)} was not given before"
        elif flag == "--source":
            yield from _source(step, files[flag])
        else:
            yield f"{_INPUTS.get(flag, files[flag].name if flag in files else flag)} changed"
    if before.get("images") != now["images"]:
        yield "images or labels changed"
    old, new = before.get("environment", {}), now["environment"]
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield f"{_ENVIRONMENT.get(name, name)} changed"


def _options(before: Sequence[str], now: Sequence[str]) -> Iterator[str]:
    old, new = _paired(before), _paired(now)
    for flag in dict.fromkeys((*old, *new)):
        if flag not in new:
            yield f"option {flag} {' '.join(old[flag])}".rstrip() + " is not given any more"
        elif flag not in old:
            yield f"option {flag} {' '.join(new[flag])}".rstrip() + " is new"
        elif old[flag] != new[flag]:
            yield f"option {flag} {' '.join(old[flag])} -> {' '.join(new[flag])}"


def _paired(words: Sequence[str]) -> dict[str, list[str]]:
    """Each flag with all its values, in order."""
    found: dict[str, list[str]] = {}
    flag = ""
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            flag = name
            found.setdefault(flag, [])
            if equals:
                found[flag].append(value)
        else:
            found.setdefault(flag, []).append(word)
    return found


def _source(step: Step, source: Path) -> Iterator[str]:
    """The critical values of a source document that differ from the package's, by name; else that it changed."""
    try:
        made = documents.read_yaml(step.package / step.phase.source)
        inherit.compare(made, documents.read_yaml(source), step.phase.name, source.name)
    except ContractBroken as broken:
        names = [problem.path.removeprefix("$.") for problem in broken.problems if problem.path]
        if names:
            yield from (f"{name} changed in {source.name}" for name in names)
            return
    except McwbuildError:
        pass  # the stage tells what is wrong with it
    yield f"{source.name} changed"
