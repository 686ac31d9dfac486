"""The command line: click parses, each verb's module calls. Modules load when their verb is used."""

from __future__ import annotations

import errno
import importlib
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from mcwbuild import __version__
from mcwbuild.contract import bounds
from mcwbuild.contract.errors import ExitCode, McwbuildError

VERBS: dict[str, str] = {
    "run": "The whole way: PyTorch to ONNX to RKNN, measured at every phase.",
    "batch": "Many models: a list of them, several at once, one summary.",
    "summary": "One summary of several batches: a matrix's cells.",
    "train": "Phase 1 with a training: a dataset to a measured checkpoint.",
    "export": "Phase 2 alone: PyTorch to ONNX.",
    "convert": "Phase 3 alone: ONNX to RKNN.",
    "init": "Write training_source.yaml from a checkpoint.",
    "plan": "Which steps a run would do, which are fresh, and why the others are not.",
    "ledger": "What each phase measured, in one table: accuracy, drop, latency, size.",
    "report": "The page of a run: report.html, report.md and report.json, from its packages.",
    "board": "Measure a package on a board: pack, run, merge.",
    "compare": "What changed between two packages or runs, and whether it is more than noise.",
    "verify": "Check packages: hashes, schemas, contract, and the models' own bytes.",
    "replay": "Repeat what made a run or a package, and tell whether the same comes of it.",
    "images": "The stages' Docker images: build, list, prune, wheelhouse.",
    "doctor": "Tell what is ready on this machine and what is not.",
    "clean": "Remove what is of no use in mcwbuild's cache; --dry-run tells.",
    "targets": "The chips: what each can do, and which share a build.",
    "explain": "Name the known failures in a log of the toolkit.",
    "bug-report": "Logs, documents and versions of a run in one archive, without model or images.",
    "schema": "Print a JSON Schema, or the table of all fields.",
    "config": "Show every option and where its value comes from.",
}


class Verbs(click.Group):
    """A group whose commands are imported when they are called, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order in which people meet them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, from its own module."""
        if cmd_name not in VERBS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"mcwbuild.cli.{name}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs in the help, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a word about what may have been meant."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], VERBS)
            meant = f" Did you mean {close[0]}?" if close else ""
            ctx.fail(f"No such command {args[0]!r}.{meant}")
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mcwbuild")
def cli() -> None:
    """Take a trained PyTorch model to Rockchip NPUs: PyTorch -> ONNX -> RKNN.

    One contract that no phase may change, one evaluator that measures every phase, gates that act on it.
    """


class Terminated(BaseException):
    """SIGTERM, raised where the program stands, so that stages are stopped and staging folders go."""


def _on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def script() -> NoReturn:
    """The `mcwbuild` program."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names of every script, and terminals that know one
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code: the error boundary of the orchestrator."""
    try:
        bounds.require()
        value: Any = cli.main(argv, prog_name="mcwbuild", standalone_mode=False)
        return value if isinstance(value, int) else 0
    except McwbuildError as error:
        from mcwbuild.report import console

        console.show_error(error)
        return int(error.code)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        from mcwbuild.report import console

        usage = error.ctx.get_usage() if isinstance(error, click.UsageError) and error.ctx else ""
        console.show_usage(usage, error.format_message())
        return int(ExitCode.INPUT)
    except (KeyboardInterrupt, click.Abort):
        from mcwbuild.report import console

        console.show_interrupted()
        return int(ExitCode.INTERRUPTED)
    except Terminated:
        from mcwbuild.report import console

        console.show_interrupted("terminated")
        return int(ExitCode.TERMINATED)
    except BrokenPipeError:
        sys.stderr.close()
        return int(ExitCode.BUG)
    except OSError as error:
        return _failed_disk(error)
    except Exception as bug:  # the command line's boundary: a bug is told as one, with its traceback in a file
        return _bug(bug)


def _bug(bug: Exception) -> int:
    from mcwbuild.report import console

    console.show_bug(bug)
    return int(ExitCode.BUG)


def _failed_disk(error: OSError) -> int:
    """A disk that is full or fails, wherever the program stood: `mcwbuild ... > /dev/full` too."""
    from mcwbuild.gate import lacking_disk
    from mcwbuild.report import console

    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
        return _bug(error)
    lacking = lacking_disk(Path(error.filename or "The standard output"), error)
    console.show_error(lacking)
    return int(lacking.code)
