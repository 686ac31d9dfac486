"""`mcwbuild verify`: are these packages whole, valid and of one contract?"""

from __future__ import annotations

from pathlib import Path

import click

from mcwbuild import inspection
from mcwbuild.contract import look
from mcwbuild.contract.errors import InputError, McwbuildError, gravest


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
def verify(folder: Path, as_json: bool) -> int:
    """Check a package, or all packages of a run, in FOLDER.

    Hashes against SHA256SUMS, documents against their schemas, the contract from phase to phase, and what the bytes
    of best.onnx and the .rknn files say of themselves.
    """
    from mcwbuild.report import console

    packages = inspection.packages_in(folder)
    if not packages:
        raise InputError(
            f"{folder} holds no package." if look.is_folder(folder) else f"{folder} is not a folder.",
            remedy="Give a folder such as build/NAME or build/NAME/onnx_package.",
            kind="missing",
        )
    findings: list[tuple[Path, list[McwbuildError]]] = []
    for package in packages:
        phase = inspection.phase_of(package)
        if phase is None:
            findings.append((package, [InputError(f"{package} has no source document.", kind="missing")]))
        else:
            findings.append((package, inspection.inspect(package, phase)))
    findings.append((folder, inspection.chain(packages)))
    errors = [error for _, found in findings for error in found]
    if as_json:
        console.show_json(
            [{"folder": str(place), "errors": [error.as_dict() for error in found]} for place, found in findings]
        )
    else:
        for package, found in findings[:-1]:
            console.show_line(f"{'failed' if found else 'ok':<7} {package}")
    if not errors:
        return 0
    if not as_json:
        for error in errors:
            console.show_error(error)
    return int(gravest(errors).code)
