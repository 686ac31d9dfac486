"""How the networks beside this file were made: a small classifier of drawn arrows, bars and wedges.

    <python of the pt stage> tests/models/make_classifier.py FOLDER_OF_IMAGES

The images are those of `benchmarks/draw_tasks.py classify`. Scaled and cropped by Pillow, as torchvision's own
transforms do it; normalised as ImageNet's are. Trained for a minute or two on a CPU, saved in every form that people
have: traced and scripted TorchScript, an exported program, weights with the code in `classifier_code/`.
"""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

HERE = Path(__file__).resolve().parent
SHORTER, SIDE = 72, 64  # pixels
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of 0..1
EPOCHS, BATCH = 60, 25


def prepared(path: Path) -> torch.Tensor:
    """float32 [3, 64, 64]: Resize(72), CenterCrop(64), ToTensor, Normalize, written out."""
    image = Image.open(path).convert("RGB")
    short = min(image.size)
    wide, high = (int(SHORTER * length / short) for length in image.size)
    image = image.resize((wide, high), Image.Resampling.BILINEAR)
    left, top = round((wide - SIDE) / 2), round((high - SIDE) / 2)
    pixels = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255
    return torch.from_numpy(((pixels - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1))


def loaded(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [n, 3, 64, 64] and classes [n] of one split; the classes' folders in alphabetical order."""
    names = sorted(entry.name for entry in folder.iterdir())
    files = [(path, names.index(path.parent.name)) for path in sorted(folder.glob("*/*"))]
    return torch.stack([prepared(path) for path, _ in files]), torch.tensor([label for _, label in files])


def train(images: torch.Tensor, labels: torch.Tensor) -> torch.nn.Module:
    """The trained network, in eval mode."""
    sys.path.insert(0, str(HERE / "classifier_code"))
    from shapes_classifier import make

    torch.manual_seed(0)
    torch.set_num_threads(1)  # the same sums in the same order everywhere
    network = make().train()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.02)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images))[: len(images) // BATCH * BATCH].split(BATCH):
            batch = images[chosen]
            if torch.rand(()) < 0.5:
                batch = batch.flip(3)
            loss = torch.nn.functional.cross_entropy(network(batch), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


def write_safetensors(tensors: dict[str, torch.Tensor], target: Path) -> None:
    """The file format's own layout: the header's length, the header, the numbers."""
    header, numbers = {}, b""
    kinds = {torch.float32: "F32", torch.int64: "I64"}
    for name, tensor in tensors.items():
        data = tensor.contiguous().numpy().tobytes()
        offsets = [len(numbers), len(numbers) + len(data)]
        header[name] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": offsets}
        numbers += data
    text = json.dumps(header).encode()
    target.write_bytes(struct.pack("<Q", len(text)) + text + numbers)


def without_places(path: Path) -> None:
    """Take out of an archive what names files of the machine that made it: places in the sources, stack traces."""
    with zipfile.ZipFile(path) as made:
        records = {
            info.filename: made.read(info) for info in made.infolist() if not info.filename.endswith("debug_pkl")
        }
    with zipfile.ZipFile(path, "w") as washed:
        for name, data in records.items():
            if name.endswith("models/model.json"):
                program = json.loads(data)
                for node in program["graph_module"]["graph"]["nodes"]:
                    node["metadata"].pop("stack_trace", None)
                data = json.dumps(program).encode()
            packed = zipfile.ZIP_DEFLATED if "/code/" in name else zipfile.ZIP_STORED
            washed.writestr(zipfile.ZipInfo(name), data, packed)


def main(folder: Path) -> None:
    """Train, tell the accuracy, save."""
    network = train(*loaded(folder / "train"))
    images, labels = loaded(folder / "val")
    with torch.inference_mode():
        print(f"top-1 {(network(images).argmax(1) == labels).float().mean():.4f} of {len(labels)} images")
    example = images[:1].clone()  # an exported program keeps the whole storage of its example
    torch.jit.save(torch.jit.trace(network, example), HERE / "classifier_traced.pt")
    torch.jit.save(torch.jit.script(network), HERE / "classifier_scripted.pt")
    torch.export.save(torch.export.export(network, (example,)), HERE / "classifier.pt2")
    for name in ("classifier_traced.pt", "classifier_scripted.pt", "classifier.pt2"):
        without_places(HERE / name)
    write_safetensors(network.state_dict(), HERE / "classifier.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
