"""The committed classifier judged with nothing of this project; run in the onnx phase's environment.

    <python of the onnx stage> benchmarks/library_plain.py FOLDER_OF_IMAGES [--export FILE.onnx]

Pillow resizes the shorter side and crops the middle, `torch.jit.load` loads, a loop counts.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

MODEL = Path(__file__).resolve().parents[1] / "tests" / "models" / "classifier_traced.pt"
SIDE, SHORTER = 64, 72
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def prepared(path: Path) -> torch.Tensor:
    """float32 [1, 3, 64, 64]."""
    image = Image.open(path).convert("RGB")
    wide, high = (int(SHORTER * side / min(image.size)) for side in image.size)
    left, top = round((wide - SIDE) / 2.0), round((high - SIDE) / 2.0)
    crop = image.resize((wide, high), Image.Resampling.BILINEAR).crop((left, top, left + SIDE, top + SIDE))
    pixels = (np.asarray(crop, np.float32) / 255 - MEAN) / STD
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))


def main() -> None:
    """Print top-1 and top-5 over the validation images; write the network as ONNX where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--export", type=Path)
    given = parser.parse_args()
    network = torch.jit.load(MODEL).eval()
    names = sorted(folder.name for folder in (given.data / "train").iterdir())
    files = sorted((given.data / "val").glob("*/*"))
    first = five = 0
    with torch.inference_mode():
        for path in files:
            best = network(prepared(path))[0].topk(5).indices.tolist()
            first += names[best[0]] == path.parent.name
            five += path.parent.name in [names[each] for each in best]
    print(f"top-1 {first / len(files):.4f}, top-5 {five / len(files):.4f} of {len(files)} images")
    if given.export:
        example = (torch.zeros(1, 3, SIDE, SIDE),)
        options = {"input_names": ["x"], "output_names": ["y"], "opset_version": 17, "dynamo": False}
        torch.onnx.export(network, example, str(given.export), **options)


if __name__ == "__main__":
    main()
