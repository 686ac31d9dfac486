"""Bugs planted one after the other, each of which a named test has to find: `python -m tests.campaign.planted_bugs`.

tests/campaign/planted/*.patch: what is wrong, the test, the change. It is applied to a copy of the tree; there the test
has to fail, and without the change it has to pass.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.campaign import ledger, series
from tests.support.commands import ROOT

CAMPAIGN = "planted bugs"
FOLDER = Path(__file__).with_name("planted")
SECONDS = 300  # for a test; none takes a tenth of it
FAILED = 1  # pytest's exit code where tests failed; 2 to 5 say that it could not run them


@dataclass(frozen=True)
class Bug:
    """One patch: what it breaks, and the test that has to find it."""

    patch: Path
    what: str
    test: str


def bugs() -> list[Bug]:
    """All of them, by name. Raises ValueError where a patch does not say what it is."""
    return [_bug(path) for path in sorted(FOLDER.glob("*.patch"))]


def _bug(path: Path) -> Bug:
    found = re.match(r"Bug: (.+)\nTest: (\S+)\n\n", path.read_text("utf-8"))
    if found is None:
        raise ValueError(f"{path} does not begin with Bug: and Test:")
    return Bug(path, found[1], found[2])


def applies(bug: Bug, tree: Path = ROOT) -> str:
    """Empty, or what git says against it."""
    done = subprocess.run(["git", "apply", "--check", bug.patch], cwd=tree, capture_output=True, text=True, check=False)
    return done.stderr.strip()


def copied(folder: Path) -> Path:
    """The tracked files as they lie here, models and images apart, in `folder`, itself a repository for git's sake."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, target = ROOT / name, folder / name
        if name.startswith(("examples/shapes/images", "examples/shapes/labels")) or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    subprocess.run(["git", "init", "-q", folder], check=True)
    return folder


def test(tree: Path, name: str) -> tuple[int, str]:
    """pytest's exit code and closing line."""
    words = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", name]
    done = subprocess.run(
        words,
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.returncode, (done.stdout.strip().splitlines() or [done.stderr[-300:]])[-1]


def trial(bug: Bug, *, bare: bool = True) -> str:
    """Empty where the test fails with the bug, and (`bare`) passes without it; else what came instead."""
    if reason := applies(bug):
        return f"{bug.patch.name} does not apply: {reason}"
    with tempfile.TemporaryDirectory(prefix="mcw-planted-") as text:
        tree = copied(Path(text))
        code, said = test(tree, bug.test) if bare else (0, "")
        if code:
            return f"{bug.test} fails without {bug.patch.name}: {said}"
        subprocess.run(["git", "apply", bug.patch], cwd=tree, check=True)
        code, said = test(tree, bug.test)
        return "" if code == FAILED else f"{bug.test} does not find {bug.patch.name}: {said}"


def main() -> int:
    """Plant all of them; 1 where one is not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    planted = bugs()
    with ThreadPoolExecutor(args.processes) as pool:
        results = dict(zip(planted, pool.map(trial, planted), strict=True))
    missed = [result for result in results.values() if result]
    for bug, result in results.items():
        print(f"{'MISSED' if result else 'found':<7} {bug.patch.stem}: {bug.what}{': ' + result if result else ''}")
    print(f"{len(planted) - len(missed)} of {len(planted)} found")
    last = {bug.patch.stem: told or "found" for bug, told in results.items()}
    ledger.add(CAMPAIGN, {"last": last, "commit": series.commit()}, args.ledger)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
