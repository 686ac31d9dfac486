"""`mcwbuild clean`: take away what is not needed in mcwbuild's cache."""

from __future__ import annotations

import click

from mcwbuild.cli import inputs
from mcwbuild.cli.settings import options, settings


@click.command()
@options("store_limit")
@click.option("--all", "everything", is_flag=True, help="Also the packages of the store, and all environments.")
@click.option("--dry-run", is_flag=True, help="Tell what would go, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def clean(ctx: click.Context, /, everything: bool, dry_run: bool, as_json: bool, **_: object) -> int:
    """Remove damaged store entries, what killed runs left, environments and code of other versions.

    The packages of your runs are never touched: they lie in your own folders.
    """
    from mcwbuild import cleaning
    from mcwbuild.report import console
    from mcwbuild.report.text import size_text

    store = inputs.the_store(settings(ctx))
    found = cleaning.useless(store, everything=everything)
    freed = sum(one.size for one in found)
    if not dry_run:
        cleaning.remove(store, found)
    if as_json:
        rows = [{"what": one.what, "path": str(one.path), "bytes": one.size} for one in found]
        console.show_json({"removed": not dry_run, "bytes": freed, "found": rows})
        return 0
    console.show_table("", ["what", "size", "where"], [[o.what, size_text(o.size), str(o.path)] for o in found], (1,))
    done = "would be freed" if dry_run else "freed"
    console.show_line(f"{size_text(freed)} {done}; the store keeps {len(cleaning.kept(store))} packages.")
    return 0
