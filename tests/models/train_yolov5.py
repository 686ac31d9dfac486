"""Train the stand-in for the original YOLOv5 on drawn images; run it in the pt phase's environment.

    python examples/shapes/draw.py DRAWN --train 1500 --val 0 --seed 5
    PYTHONPATH=. python tests/models/train_yolov5.py DRAWN/data.yaml tests/models/yolov5_standin.pt

The loss is the published one in short (objects to the anchors whose sides are within a factor of 4, and to the two
nearest neighbour cells too; CIoU, objectness by the IoU, binary cross entropy of the classes).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
import yaml
from torch.nn.functional import binary_cross_entropy_with_logits as entropy
from ultralytics.utils.metrics import bbox_iou

from stages.common.images import prepare, read
from stages.families.yolo.preparation import LETTERBOXED
from tests.support.yolov5 import DetectionModel, architecture, saved

SIZE = 160  # pixels
BATCH, RATE = 16, 0.004
BALANCE = (4.0, 1.0, 0.4)  # of the scales' objectness


def load(data: Path) -> tuple[torch.Tensor, list[torch.Tensor], tuple[str, ...]]:
    """Images uint8 [n, 3, SIZE, SIZE], of each its objects [m, 5] (class, cx cy w h in input pixels), the names."""
    described = yaml.safe_load(data.read_text("utf-8"))
    contract = {"input": {"size": [SIZE, SIZE], "format": "RGB", "channels": 3}, "preprocessing": LETTERBOXED}
    images, objects = [], []
    for path in sorted((data.parent / "images" / "train").glob("*.jpg")):
        image = read(path)
        prepared, placement = prepare(image, contract)
        rows = np.loadtxt(data.parent / "labels" / "train" / f"{path.stem}.txt", ndmin=2).reshape(-1, 5)
        side = np.array([image.shape[1], image.shape[0]]) * [placement.scale_x, placement.scale_y]
        rows[:, 1:3] = rows[:, 1:3] * side + [placement.left, placement.top]
        rows[:, 3:5] *= side
        images.append(torch.from_numpy(prepared.transpose(2, 0, 1).copy()))
        objects.append(torch.from_numpy(rows).float())
    names = described["names"]
    return torch.stack(images), objects, tuple(names.values() if isinstance(names, dict) else names)


def flipped(images: torch.Tensor, objects: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch in 0..1 with random flips; its objects [m, 6] with the image's number in front."""
    rows = []
    batch = images.float() / 255
    for number, one in enumerate(objects):
        one = one.clone()
        for axis in (1, 2):
            if torch.rand(()) < 0.5:
                batch[number] = batch[number].flip(3 - axis)
                one[:, axis] = SIZE - one[:, axis]
        rows.append(torch.cat((torch.full((len(one), 1), float(number)), one), 1))
    return batch, torch.cat(rows)


def loss(maps: list[torch.Tensor], objects: torch.Tensor, head: torch.nn.Module) -> torch.Tensor:
    """The loss of raw maps [b, na, h, w, no]."""
    total = torch.zeros(())
    for index, raw in enumerate(maps):
        stride, anchors = head.stride[index], head.anchors[index]
        wanted = torch.zeros(raw.shape[:4])
        picked = [part for one in range(len(anchors)) for part in _matched(objects, one, anchors[one], stride, raw)]
        if picked:
            rows, anchor, column, line = (torch.cat(parts) for parts in zip(*picked, strict=True))
            image = rows[:, 0].long()
            values = raw[image, anchor, line, column]
            xy = values[:, :2].sigmoid() * 2 - 0.5
            wh = (values[:, 2:4].sigmoid() * 2) ** 2 * anchors[anchor]
            true = torch.cat((rows[:, 2:4] / stride - torch.stack((column, line), 1), rows[:, 4:6] / stride), 1)
            overlap = bbox_iou(torch.cat((xy, wh), 1), true, CIoU=True).squeeze(-1)
            kinds = torch.zeros_like(values[:, 5:])
            kinds[torch.arange(len(rows)), rows[:, 1].long()] = 1.0
            total = total + 0.05 * (1 - overlap).mean() * 3 + 0.3 * entropy(values[:, 5:], kinds)
            wanted[image, anchor, line, column] = overlap.detach().clamp(0)
        total = total + BALANCE[index] * entropy(raw[..., 4], wanted)
    return total


def _matched(objects: torch.Tensor, anchor: int, sides: torch.Tensor, stride: torch.Tensor, raw: torch.Tensor):
    """Rows, anchors, columns and lines of the cells that have to find an object: its own and two neighbours."""
    ratio = objects[:, 4:6] / stride / sides
    rows = objects[torch.maximum(ratio, 1 / ratio).max(1)[0] < 4]
    place = rows[:, 2:4] / stride
    for moved in ((0.0, 0.0), (0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5)):
        cell = (place + torch.tensor(moved)).floor().long()
        inside = (cell >= 0).all(1) & (cell[:, 0] < raw.shape[3]) & (cell[:, 1] < raw.shape[2])
        if any(moved):
            inside &= (cell != place.floor().long()).any(1)
        kept = cell[inside]
        yield rows[inside], torch.full((len(kept),), anchor), kept[:, 0], kept[:, 1]


def main() -> None:
    """Train, and write the checkpoint as that repository's trainer leaves it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, objects, names = load(given.data)
    model = DetectionModel(architecture(len(names)), names)
    head = model.model[-1]
    for conv, stride in zip(head.m, head.stride, strict=True):
        bias = conv.bias.data.view(head.na, -1)
        bias[:, 4] += math.log(8 / (640 / stride) ** 2)  # few cells hold an object
        bias[:, 5:] += math.log(0.6 / (len(names) - 0.99))
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995), use_buffers=True
    )
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=5e-4)
    steps = given.epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    model.train()
    for epoch in range(given.epochs):
        order, losses = torch.randperm(len(images)), []
        for start in range(0, len(images) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            batch, rows = flipped(images[chosen], [objects[index] for index in chosen])
            found = loss(model(batch, "training"), rows, head)
            optimizer.zero_grad()
            found.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            losses.append(float(found.detach()))
        print(f"epoch {epoch + 1} of {given.epochs}: loss {np.mean(losses):.4f}", flush=True)
        whole: DetectionModel = average.module
        head_of = whole.model[-1]
        head_of.form = "v7"
        options = {"imgsz": SIZE, "epochs": epoch + 1, "batch_size": BATCH, "optimizer": "AdamW", "data": "data.yaml"}
        saved(given.out, whole.eval(), SIZE, opt=options)
        whole.train()


if __name__ == "__main__":
    main()
