"""The constant part of `npu_inference.py`: inference on the board with rknn-toolkit-lite2.

Used here only as text: `script.py` puts it behind the decoder and the image handling that the evaluator
uses too, and adds one string with the model's data. Python 3.8, numpy and OpenCV only.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stages.common.detection import suppression
from stages.common.images import prepare, read
from stages.rknn.npu import COMPATIBLE, DONE, INPUT, Stop, check_chip, check_model, infer, open_runtime
from stages.rknn.show import View, printable

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
WARMUP_RUNS = 1  # the first run includes the weights' upload


class Result(NamedTuple):
    """What was found in one image, as entries, and the three parts' times in milliseconds."""

    image: Path
    entries: list[dict[str, Any]]
    milliseconds: tuple[float, float, float]


def choose_model(given: str | None, data: Mapping[str, Any], folder: Path) -> Path:
    """The model to run: the given one, else the first of the package's that lies beside this program."""
    if given is not None:
        return Path(given)
    paths: list[Path] = [folder / model["file"] for model in data["models"]]
    for path in paths:
        if path.is_file():
            return path
    names = " or ".join(path.name for path in paths)
    raise Stop(INPUT, f"No {names} lies beside this program. Copy it there or give --model.")


def look(runtime: Any, path: Path, data: Mapping[str, Any], args: argparse.Namespace, view: View) -> Result:
    """What the network finds in one image."""
    try:
        image = read(path, data["contract"]["input"]["format"])
    except (OSError, ValueError) as error:
        raise Stop(INPUT, f"{path} is no image that can be read ({error}). Leave it out.") from None
    start = time.perf_counter()
    prepared, placement = prepare(image, data["contract"])
    ready = time.perf_counter()
    outputs = infer(runtime, prepared, data)
    inferred = time.perf_counter()
    shape = image.shape[0], image.shape[1]
    candidates = view.decode(outputs, data["head"], args.conf)
    iou = suppression(data["head"], args.iou)
    found = view.finish(candidates, placement, shape, iou, args.max_detections)
    end = time.perf_counter()
    times = (ready - start) * 1e3, (inferred - ready) * 1e3, (end - inferred) * 1e3
    names = data["contract"]["classes"]["names"] if "classes" in data["contract"] else data["head"]["outputs"]
    if args.out:
        image = image[:, :, :3].copy()  # without transparency, which what is drawn has not
        view.draw(image, found, names)
        view.keep(image, found, names, Path(args.out) / path.name)
    return Result(path, view.entries(found, names), times)


def as_lines(result: Result, view: View) -> str:
    """The result for people: one line a thing found."""
    lines = [f"{printable(str(result.image))}: {len(result.entries)} found"]
    for entry in result.entries:
        score = f"{entry['score']:.3f}  " if "score" in entry else ""
        lines.append(f"  {printable(entry['name']):<20} {score}{view.text(entry)}".rstrip())
    return "\n".join(lines)


def latency(results: Sequence[Result]) -> Mapping[str, Any]:
    """Medians in milliseconds of the runs after the warm-up; nothing where there are none."""
    runs = [result.milliseconds for result in results[WARMUP_RUNS:]]
    if not runs:
        return {"runs": 0}
    parts = [round(statistics.median(run[part] for run in runs), 3) for part in range(3)]
    return {"runs": len(runs), "pre_ms": parts[0], "inference_ms": parts[1], "post_ms": parts[2]}


def list_images(given: Sequence[str]) -> list[Path]:
    """The images named, and those in the folders named, in order of their names."""
    paths: list[Path] = []
    for name in given:
        path = Path(name)
        if path.is_dir():
            paths += sorted(entry for entry in path.iterdir() if entry.suffix.lower() in SUFFIXES)
        else:
            paths.append(path)
    if not paths:
        raise Stop(INPUT, f"There are no images in {', '.join(given)}. Give images or a folder with images.")
    return paths


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def parse(argv: Sequence[str] | None, data: Mapping[str, Any]) -> argparse.Namespace:
    """The command line."""
    post = data["postprocessing"]
    parser = argparse.ArgumentParser(description="Inference on the NPU of a Rockchip board.")
    parser.add_argument("images", nargs="+", metavar="IMAGE|FOLDER")
    parser.add_argument("--model", help="the .rknn file; without it the one beside this program")
    parser.add_argument("--conf", type=fraction, default=post["confidence"], help="default %(default)s")
    parser.add_argument(
        "--iou", type=fraction, default=post["nms"], help="default %(default)s; one-to-one heads need none"
    )
    parser.add_argument("--max-detections", type=int, default=post["max_detections"], help="default %(default)s")
    parser.add_argument("--core", default="auto", choices=("auto", "0", "1", "2", "0_1", "0_1_2"), help="NPU cores")
    parser.add_argument("--out", help="folder for the images with what was found drawn in, or for the outputs")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args(argv)


def work(args: argparse.Namespace, data: Mapping[str, Any], view: View, folder: Path, compatible: Path) -> int:
    """Everything between the command line and the exit code."""
    images = list_images(args.images)
    model = choose_model(args.model, data, folder)
    check_model(model, data)
    check_chip(data, compatible)
    runtime = open_runtime(model, args.core, data)
    results: list[Result] = []
    unread: list[str] = []
    try:
        for path in images:
            try:
                results.append(look(runtime, path, data, args, view))
            except Stop as stop:
                if stop.code != INPUT:
                    raise
                unread.append(str(stop))
                sys.stderr.write(f"error: {stop}\n")
                continue
            if not args.json:
                sys.stdout.write(as_lines(results[-1], view) + "\n")
    finally:
        runtime.release()
    if args.json:
        found = [{"image": str(result.image), view.name: result.entries} for result in results]
        document = {"model": model.name, "images": found, "errors": unread, "latency": latency(results)}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif latency(results)["runs"]:
        line = "median of {runs}: pre {pre_ms} ms, NPU {inference_ms} ms, post {post_ms} ms\n"
        sys.stdout.write(line.format(**latency(results)))
    return INPUT if unread else DONE


def main(data: Mapping[str, Any], view: View, argv: Sequence[str] | None = None, compatible: Path = COMPATIBLE) -> int:
    """Run and return the exit code: 0 done, 2 input, 4 runtime, 5 board or package missing, 6 refused."""
    args = parse(argv, data)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # boards often run in the C locale, which has ASCII only
            stream.reconfigure(errors="backslashreplace")
    try:
        return work(args, data, view, Path(__file__).resolve().parent, compatible)
    except Stop as stop:
        sys.stderr.write(f"error: {stop}\n")
        return stop.code
