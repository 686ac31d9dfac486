"""The original YOLOv5's stand-in the whole way, and what was measured, written down.

    python benchmarks/original.py [--work build/original]

docs/yolov5.md is written from the packages' own performance records.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from architectures import convert, reason, row

from mcwbuild.contract import disk

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "yolov5.md"
NAME = "yolov5_standin"


def main() -> None:
    """Convert the committed stand-in and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "original")
    work = parser.parse_args().work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = ROOT / "examples" / "shapes" / "data.yaml"
    result = convert(NAME, ROOT / "tests" / "models" / f"{NAME}.pt", data, work)
    disk.write_atomic(TABLE, page(row(NAME, result, work), reason(result, work / f"{NAME}.run.log")).encode())


def page(line: str, missed: str) -> str:
    """The whole document."""
    return f"""\
# The original YOLOv5

A `best.pt` of the repository ultralytics/yolov5 (up to v7.0) pickles that repository's own classes and has a head
with anchors. It is read without being unpickled, and rebuilt from the YAML in it: any width and depth, of Conv, C3,
SPPF, SPP, Bottleneck, Focus, Concat and nearest upsampling, with SiLU. Other layers are refused by name; such a
network goes on as an ONNX file, and so does a YOLOv7. A fused checkpoint is refused as such.

The anchors are found from the training's labels, so they are part of the contract (`model.anchors`, critical). Of a
decoded ONNX file they are measured in what it computes, because each version writes its arithmetic otherwise, and
every prediction is then compared; a file of raw maps (Rockchip's fork, `--train`, YOLOv7 without `--grid`) needs
`--source` with `model.anchors`.

No network of that repository can be had here. What was measured is a stand-in (`tests/support/yolov5.py`): that head,
those class paths and layers, 0.45 million weights, trained on drawn images at 160 x 160 by
`tests/models/train_yolov5.py`. The figures are map50_95 over the 128 images of `examples/shapes`, which the training
did not see; in brackets the change and the gate's verdict, as in [architectures.md](architectures.md). No figure of
that repository's own `val.py` stands beside PyTorch's: it cannot be had either.

| network | epochs | PyTorch | ONNX | FP16 | INT8 | exit code |
|---|---|---|---|---|---|---|
{line}

{missed or "Every gate passed."}

Made with, and written by:

    python benchmarks/original.py
"""


if __name__ == "__main__":
    main()
