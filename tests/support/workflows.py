"""GitHub's side of a workflow on this machine: the commands of its `run:` blocks, its files and its environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.commands import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
ACTIONS = ROOT / ".github" / "actions"
_NAME = re.compile(r"[a-z_]+(?:\.[\w-]+)+")  # inputs.target, steps.key.outputs.key


def jobs(name: str) -> dict[str, Any]:
    """The jobs of a workflow of this repository."""
    found: dict[str, Any] = yaml.safe_load((WORKFLOWS / name).read_text("utf-8"))["jobs"]
    return found


def steps(action: str) -> list[dict[str, Any]]:
    """The steps of a composite action of this repository."""
    found: list[dict[str, Any]] = yaml.safe_load((ACTIONS / action / "action.yml").read_text("utf-8"))["runs"]["steps"]
    return found


def condition(text: str, values: Mapping[str, str]) -> bool:
    """Whether an `if:` holds; names that `values` lacks are empty, as on GitHub."""
    words = _NAME.sub(lambda name: repr(values.get(name[0], "")), text.strip("${} "))
    words = words.replace("&&", " and ").replace("||", " or ")
    return bool(eval(words, {"always": lambda: True, "__builtins__": {}}))


class Runner:
    """Runs the commands of steps in `folder`, one after the other, as `shell: bash` does."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder, self.summary = folder, folder / "step-summary"
        self._outputs = folder / "outputs"
        self.temporary, bin_ = folder / "runner-temp", folder / "bin"
        for made in (self.temporary, bin_):
            made.mkdir(exist_ok=True)
        (bin_ / "mcwbuild").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mcwbuild "$@"\n')
        (bin_ / "mcwbuild").chmod(0o755)
        self.said: list[str] = []
        self.environment = {
            **os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "CI": "true",
            "GITHUB_STEP_SUMMARY": str(self.summary), "RUNNER_TEMP": str(self.temporary), "RUNNER_OS": "Linux",
            "RUNNER_ARCH": "X64", "MCWBUILD_STORE": "true", **(environment or {}),
        }  # fmt: skip

    def run(
        self, steps: Sequence[Mapping[str, Any]], values: dict[str, str], without: Sequence[str] = ("Install",)
    ) -> int:
        """The first exit code that is not 0, where the rest is left out but `always()`; expressions are looked up in
        `values`, which the steps' outputs join.
        """
        code = 0
        for step in steps:
            when = step.get("if", "")
            if "run" not in step or step["name"] in without or (code and "always()" not in when):
                continue
            if when and not condition(when, values):
                continue
            ended = self._step(step, values)
            code = code or ended
        return code

    def _step(self, step: Mapping[str, Any], values: dict[str, str]) -> int:
        given = {
            name: re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found[1]], text)
            for name, text in step.get("env", {}).items()
        }
        self._outputs.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env={**self.environment, "GITHUB_OUTPUT": str(self._outputs), **given},
            text=True,
            capture_output=True,
        )
        self.said.append(done.stdout + done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
        for name, value in outputs(self._outputs.read_text()).items():
            values[f"steps.{step['id']}.outputs.{name}"] = value
        return done.returncode


def outputs(text: str) -> dict[str, str]:
    """What a step wrote to GITHUB_OUTPUT: `name=value`, or `name<<end`, lines, `end`."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, end = re.split(r"=|<<", line, maxsplit=1)
        if line.startswith(f"{name}<<"):
            held = iter(lambda: next(lines), end)
            found[name] = "\n".join(held)
        else:
            found[name] = end
    return found
