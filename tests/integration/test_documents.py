"""The commands that documents show: every one is understood, and what is quick is run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest

from mcwbuild.cli import cli
from tests.support.commands import ROOT, mcwbuild

PAGES = sorted(
    page
    for folder in (ROOT, ROOT / "docs", ROOT / "examples", ROOT / "examples" / "shapes", ROOT / "benchmarks")
    for page in folder.glob("*.md")
    if page.name != "CHANGELOG.md"
)
# Quick ones, in a folder where the example's packages lie.
QUICK = re.compile(r"mcwbuild (targets|schema|config|doctor|verify|ledger|compare|explain|init --train|--help|plan)\b")


def commands() -> Iterator[tuple[str, str]]:
    """Every line of a code block that calls mcwbuild, with where it stands; what follows a # is a remark."""
    for page in PAGES:
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
            for part in line.removeprefix("    ").split(" && ") if line.startswith("    ") else ():
                if re.match(r"mcwbuild [a-z-]", part.strip()):
                    yield f"{page.relative_to(ROOT)}:{number}", re.split(r"\s#", part.strip())[0].strip()


def parse(line: str) -> None:
    """Have click read the line as it would, and do nothing. Raises click.ClickException."""
    words = [word for word in shlex.split(line)[1:] if word != "..."]
    command: click.Command = cli
    context = click.Context(cli, info_name="mcwbuild")
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, name
        command, context = found, click.Context(found, parent=context, info_name=name)
    with suppress(click.exceptions.Exit):  # --help and --version
        command.make_context(command.name, words, parent=context.parent)


@pytest.mark.parametrize(("place", "line"), list(commands()))
def test_a_command_in_a_document_is_understood(place: str, line: str) -> None:
    parse(line)


def test_documents_show_every_verb() -> None:
    shown = {line.split()[1] for _, line in commands()}
    assert set(cli.list_commands(click.Context(cli))) <= shown


def test_a_word_that_no_verb_knows_is_found() -> None:
    with pytest.raises(click.ClickException):
        parse("mcwbuild run --pt best.pt --tarhet rk3588")


@pytest.fixture
def built(example: Path, tmp_path: Path) -> Path:
    """A folder as the README's reader has it after the first command."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(example.parent, tmp_path / "build")
    return tmp_path


READER = [(place, line) for place, line in commands() if place.startswith("README.md") and QUICK.match(line)]


@pytest.mark.parametrize(("place", "line"), READER)
def test_a_quick_command_of_the_readme_works(place: str, line: str, built: Path) -> None:
    words = shlex.split(line)[1:]
    named = [word for word in words if "/" in word or word.endswith((".pt", ".yaml", ".txt"))]
    missing = [word for word in named if not (built / word).exists()]
    if missing:
        pytest.skip(f"{place} names what is the reader's own: {', '.join(missing)}")
    done = mcwbuild(*words, cwd=built)
    assert done.code == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_finds_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert gone == []
