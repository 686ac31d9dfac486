"""Models that were built wrongly while every document agrees: `python -m tests.campaign.misbuilt`.

Sound packages of small networks; in each the network is spoilt (tests/support/misbuild.py), or a `.rknn` built under
another contract takes the right one's place, its contract's hash forged. Caught is what no command passes: `convert`,
which measures it against the record of the phase before, or `verify`, which reads it back. What passes stands in the
ledger.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml

from benchmarks import draw_tasks
from examples.shapes import draw
from mcwbuild.contract import disk, documents, inherit, manifest
from mcwbuild.contract.phases import ONNX, RKNN
from mcwbuild.engines.local import LocalEngine
from tests.campaign import ledger, series
from tests.support.commands import ROOT, mcwbuild
from tests.support.trained import checkpoint

CAMPAIGN = "misbuilt"
SEED = 20271
_DRAWN = ("segment", "pose", "obb", "classify")
NETWORKS = {"shapes": "shapes", "detect": "segment", **{name: name for name in _DRAWN}}  # and what is drawn for them
IN_ONNX = (
    *("colours exchanged", "std scaled", "mean moved", "classes permuted"),
    *("another size", "a weight that is no number", "another model's weights"),
)
IN_RKNN = {  # values of another contract, under which the .rknn was built
    "a .rknn with another std": ("std", lambda value: [2 * part for part in value]),
    "a .rknn with another mean": ("mean", lambda value: [part + 20 for part in value]),
    "a .rknn with one channel's std a tenth off": ("std", lambda value: [1.1 * value[0], *value[1:]]),
}
PADDING = "black padding in every document"
KINDS = (*IN_ONNX, *IN_RKNN, PADDING)
IMAGES = 32
WORDS = ("--target", "rk3588", "--dtype", "fp16", "--engine", "local", "--progress", "quiet", "--threads", "1")


def prepare(folder: Path, network: str) -> Path:
    """The network's sound packages and its dataset below `folder`; the data.yaml or folder."""
    place = folder / network
    place.mkdir(parents=True)
    if NETWORKS[network] == "shapes":
        for split, count in (("train", 1), ("val", IMAGES)):
            draw.write_split(place / "data", split, count, SEED, [(320, 240), (240, 320), (320, 160)])
        draw.write_data_yaml(place / "data")
        data = place / "data" / "data.yaml"
    else:
        data = draw_tasks.write(place / "data", NETWORKS[network], 8, IMAGES, SEED, large=True)  # type: ignore[arg-type]
    done = mcwbuild("run", "--pt", checkpoint(network), "--data", data, "--out", "sound", *WORDS, cwd=place)
    if done.code:
        raise RuntimeError(f"the sound run of {network} ends with {done.code}: {done.stderr[-1500:]}")
    return data


def _spoil(package: Path, kind: str) -> None:
    """In the onnx phase's environment."""
    engine = LocalEngine()
    engine.prepare(ONNX, lambda event: None)
    words = [engine.python(ONNX), "-m", "tests.support.misbuild", package, kind, SEED]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([str(word) for word in words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{kind} cannot be planted: {done.stderr[-500:]}")


def _told(code: int, stderr: str) -> str:
    lines = [line for line in stderr.strip().splitlines() if not line.startswith("log:")]
    return f"exit code {code}: {lines[-1] if lines else ''}"[:300] if code else ""


def in_onnx(place: Path, data: Path, kind: str) -> str:
    """What `convert` says of the spoilt network, which the record before names as its own; empty where it passes."""
    package = place / "spoilt"
    before = disk.sha256_of(package / "best.onnx")
    _spoil(package, kind)
    _renamed(package, ONNX.performance, before, "best.onnx")
    words = ("--onnx", place / "spoilt" / "best.onnx", "--data", data, "--out", "out", *WORDS)
    done = mcwbuild("convert", *words, cwd=place)
    return _told(done.code, done.stderr)


def _renamed(package: Path, record: str, before: str, model: str) -> None:
    """The record names the changed model as the one that was measured, and the sums are those of both."""
    text = (package / record).read_text()
    assert before in text
    (package / record).write_text(text.replace(before, disk.sha256_of(package / model)))
    for name in (model, record):
        manifest.add(package, name)


def black_padding(place: Path, data: Path, kind: str) -> str:
    """The contract itself is wrong, everywhere alike: only what is measured can tell."""
    _rewrite(place / "spoilt", ("padding", "color"), lambda value: [0] * len(value))
    words = ("--onnx", place / "spoilt" / "best.onnx", "--data", data, "--out", "out", *WORDS)
    done = mcwbuild("convert", *words, cwd=place)
    return _told(done.code, done.stderr)


def in_rknn(place: Path, data: Path, kind: str) -> str:
    """What `verify` says of a `.rknn` of another contract, with the right contract's hash in it."""
    key, change = IN_RKNN[kind]
    right = documents.read_yaml(place / "spoilt" / ONNX.source).value
    _rewrite(place / "spoilt", ("normalize", key), change)
    wrong = documents.read_yaml(place / "spoilt" / ONNX.source).value
    words = ("--onnx", place / "spoilt" / "best.onnx", "--out", "out", *WORDS)
    built = mcwbuild("convert", *words, cwd=place)
    package, made = place / "package", place / "out" / RKNN.package / "best_fp16.rknn"
    if not made.is_file():
        return f"not built, {_told(built.code, built.stderr)}"
    shutil.copytree(place.parent / "sound" / RKNN.package, package)
    forged = made.read_bytes().replace(wrong["contract_sha256"].encode(), right["contract_sha256"].encode())
    before = disk.sha256_of(package / "best_fp16.rknn")
    (package / "best_fp16.rknn").write_bytes(forged)
    _renamed(package, RKNN.performance, before, "best_fp16.rknn")
    done = mcwbuild("verify", package, cwd=place)
    return _told(done.code, done.stderr)


def _rewrite(package: Path, path: tuple[str, str], change: Callable[[list[float]], list[float]]) -> None:
    """A critical value changed in the document, in the record's hash, and in the block in best.onnx."""
    source = documents.read_yaml(package / ONNX.source).value
    before = inherit.canonical(inherit.critical(source))
    source["preprocessing"][path[0]][path[1]] = change(source["preprocessing"][path[0]][path[1]])
    old, source["contract_sha256"] = source["contract_sha256"], inherit.contract_sha256(source)
    (package / ONNX.source).write_text(yaml.safe_dump(source, sort_keys=False))
    record = package / ONNX.performance
    record.write_text(record.read_text().replace(old, source["contract_sha256"]))
    _metadata(package / "best.onnx", before, inherit.canonical(inherit.critical(source)))
    for name in (ONNX.source, ONNX.performance, "best.onnx"):
        manifest.add(package, name)


def _metadata(model: Path, before: str, after: str) -> None:
    """The contract's block in the file's metadata, in the onnx phase's environment."""
    program = (
        "import onnx, sys; m = onnx.load(sys.argv[1])\n"
        "[setattr(p, 'value', sys.argv[2]) for p in m.metadata_props if p.key == 'mcwbuild.contract']\n"
        "onnx.save(m, sys.argv[1])"
    )
    python = LocalEngine().python(ONNX)
    subprocess.run([str(python), "-c", program, str(model), after], check=True, capture_output=True)


def trial(folder: Path, network: str, data: Path, kind: str) -> str:
    """How the mis-built model is caught; empty where it is not."""
    place = folder / network / "trial"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copytree(folder / network / "sound" / ONNX.package, place / "spoilt")
    way = in_rknn if kind in IN_RKNN else black_padding if kind == PADDING else in_onnx
    return way(place, data, kind)


def main() -> None:
    """Try what the ledger does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", action="append", choices=NETWORKS)
    parser.add_argument("--ledger", type=Path, default=ledger.LEDGER)
    args = parser.parse_args()
    for network in args.network or NETWORKS:
        done = ledger.read(CAMPAIGN, args.ledger).get("models", {})
        kinds = [kind for kind in KINDS if kind != PADDING or NETWORKS[network] != "classify"]  # which is cropped
        if missing := [kind for kind in kinds if f"{network}, {kind}" not in done]:
            with tempfile.TemporaryDirectory(prefix="mcw-misbuilt-") as text:
                data = prepare(Path(text), network)
                for kind in missing:
                    told = trial(Path(text), network, data, kind)
                    print(f"{network}, {kind}: {told or 'NOT CAUGHT'}", flush=True)
                    made = {"models": {f"{network}, {kind}": told or "not caught"}}
                    ledger.add(CAMPAIGN, {**made, "seed": str(SEED), "commit": series.commit()}, args.ledger)


if __name__ == "__main__":
    main()
