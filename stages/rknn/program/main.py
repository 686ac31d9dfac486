"""The part of `npu_inference.py` that a person meets: the command line, and what it sets going.

Used here only as text: `script.py` puts it behind the decoder and the image handling that the evaluator
uses too, and adds one string with the model's data. Python 3.8, numpy and OpenCV only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from stages.rknn.program.benchmark import MOST_FRAMES, as_table, generated, measure
from stages.rknn.program.checks import (
    CHECKS,
    check_chip,
    check_libraries,
    check_model,
    check_versions,
    chips_of,
    note,
    versions_of,
)
from stages.rknn.program.frames import Source, held, sources_of
from stages.rknn.program.npu import DONE, INPUT, RuntimeLog, Stop, masks_of
from stages.rknn.program.pipeline import Limits, Network
from stages.rknn.program.results import Coco, Drawn, JsonLines, Lines, Outputs, WindowClosed, can_show
from stages.rknn.program.show import View, printable

INTERRUPTED, TERMINATED, NO_READER = 130, 143, 141  # exit codes: 128 and the signal's number
_TIMED = 10_000  # of the last frames: a camera may run for months
_CORES = ("all", "auto", "0", "1", "2", "0_1", "0_1_2")
_EXIT_CODES = (
    "exit codes: 0 done, 2 input, 4 the runtime failed, 5 the board lacks something, 6 refused, 130 interrupted,"
    " 143 terminated"
)


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def count(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def width_and_height(text: str) -> tuple[int, int]:
    """640x480."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is no size as 640x480")
    return int(match.group(1)), int(match.group(2))


def checks(text: str) -> tuple[str, ...]:
    """chip,file"""
    names = tuple(text.split(","))
    if set(names) - set(CHECKS):
        raise argparse.ArgumentTypeError(f"{text} is not some of {', '.join(CHECKS)} with commas between")
    return names


def parse(argv: Sequence[str] | None, data: Mapping[str, Any]) -> argparse.Namespace:
    """The command line."""
    post = data["postprocessing"]
    parser = argparse.ArgumentParser(description="Inference on the NPU of a Rockchip board.", epilog=_EXIT_CODES)
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="images, folders, videos, rtsp:// and http:// streams, cameras (0, /dev/video0), or - for standard input:"
        " JPEGs one after the other, or raw frames where --size is given",
    )
    parser.add_argument("--model", help="the .rknn file; without it the one beside this program")
    parser.add_argument("--conf", type=fraction, default=post["confidence"], help="default %(default)s")
    parser.add_argument(
        "--iou", type=fraction, default=post["nms"], help="default %(default)s; one-to-one heads need none"
    )
    parser.add_argument("--max-detections", type=count, default=post["max_detections"], help="default %(default)s")
    parser.add_argument(
        "--core", default="all", choices=_CORES, help="NPU cores; `all` works on a frame with each (default)"
    )
    parser.add_argument("--size", type=width_and_height, metavar="WxH", help="of raw frames, bgr24, on standard input")
    parser.add_argument("--out", metavar="DIR", help="write the images, or videos, with what was found drawn in")
    parser.add_argument("--show", action="store_true", help="show them in a window; q ends")
    parser.add_argument("--json", action="store_true", help="print a JSON document a line, for each image")
    parser.add_argument("--coco", metavar="FILE", help="write the results in COCO's format")
    parser.add_argument("--outputs", metavar="DIR", help="write the network's outputs, an .npz for each image")
    parser.add_argument("--benchmark", action="store_true", help="measure; without INPUT on noise")
    parser.add_argument("--runs", type=count, default=100, help="of the benchmark, default %(default)s")
    parser.add_argument("--warmup", type=count, default=10, help="runs before, default %(default)s")
    parser.add_argument(
        "--no-checks", type=checks, default=(), metavar="NAME,...", help=f"leave out some of {', '.join(CHECKS)}"
    )
    args = parser.parse_args(argv)
    if not args.inputs and not args.benchmark:
        parser.error("give an INPUT")
    return args


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


class Session(NamedTuple):
    """What one run goes by: the command line, this program's data and folder, and where /proc and /sys are."""

    args: argparse.Namespace
    data: Mapping[str, Any]
    view: View
    folder: Path
    root: Path
    log: RuntimeLog

    @property
    def limits(self) -> Limits:
        """What a candidate has to pass."""
        return Limits(self.args.conf, self.args.iou, self.args.max_detections)


def open_network(session: Session, model: Path, contexts: int) -> Network:
    """The network on at most `contexts` contexts, when the file and the chip have been checked."""
    args, data = session.args, session.data
    check_model(model, data, args.no_checks)
    check_chip(data, session.root, args.no_checks)
    check_libraries(data)
    return Network(str(model), masks_of(args.core, data, contexts), session.log, data, session.view)


def described(session: Session, model: Path, network: Network) -> dict[str, Any]:
    """What runs here, and on what, when the versions have been checked."""
    data = session.data
    versions = versions_of(network.contexts[0], session.log, session.root)
    check_versions(versions, data, session.args.no_checks)
    session.log.forget()
    chips = chips_of(session.root)
    libraries = {"python": sys.version.split()[0], "numpy": np.__version__, "opencv": cv2.__version__}
    return {
        "model": model.name,
        "target": data["target"],
        "toolkit": data["toolkit"],
        "chip": chips[-1] if chips else None,
        "cores": list(network.masks),
        "load_ms": round(network.load_seconds * 1e3, 1),
        "versions": {**versions, **libraries},
    }


def look_at_all(session: Session, sources: Sequence[Source], network: Network) -> int:
    """Take every source through the network and give its results out; the exit code."""
    args, view = session.args, session.view
    show = args.show and can_show()
    if args.show and not show:
        note("no window: there is no display, or this OpenCV has none")
    code = DONE
    times: deque[Sequence[float]] = deque(maxlen=_TIMED)
    first = True  # its time includes the weights' upload
    with contextlib.ExitStack() as stack:
        sinks: list[Any] = [Coco(args.coco, view)] if args.coco else []
        sinks += [Outputs(args.outputs, network.output_names)] if args.outputs else []
        sinks += [Drawn(args.out, show, view, network.names)] if args.out or show else []
        sinks += [JsonLines(view) if args.json else Lines(view)]  # last: what is printed is done
        for sink in sinks:
            stack.callback(sink.close)
        for source in sources:
            results = stack.enter_context(contextlib.closing(network.each(source.frames, session.limits)))
            for result in results:
                if result.error:
                    code = INPUT
                    sys.stderr.write(f"error: {printable(result.error)}\n")
                elif first:
                    first = False
                else:
                    times.append(result.milliseconds)
                for sink in sinks:
                    sink.take(result)
    if times and not args.json:
        pre, inference, post = np.median(times, axis=0)
        line = f"median of {len(times)}: pre {pre:.2f} ms, NPU {inference:.2f} ms, post {post:.2f} ms\n"
        sys.stdout.write(line)
    return code


def benchmark(session: Session, sources: Sequence[Source], network: Network, known: Mapping[str, Any]) -> int:
    """Measure, and print the figures."""
    args = session.args
    given = [frame for source in sources for frame in islice(source.frames, MOST_FRAMES)][:MOST_FRAMES]
    # Reading files is not what is measured.
    frames = [frame._replace(load=held(frame.load())) for frame in given] or [generated(session.data["contract"])]
    figures = measure(network, session.limits, frames, args.warmup, args.runs, session.root)
    measured = {**known, "images": [frame.name for frame in frames], **figures}
    sys.stdout.write((json.dumps(measured) if args.json else as_table(measured)) + "\n")
    return DONE


def work(session: Session) -> int:
    """Everything between the command line and the exit code."""
    args = session.args
    form = session.data["contract"]["input"]["format"]
    sources = sources_of(args.inputs, form, args.size) if args.inputs else []
    counts = [source.total for source in sources]
    many = args.benchmark or None in counts or sum(filter(None, counts)) > 1
    model = choose_model(args.model, session.data, session.folder)
    network = open_network(session, model, len(session.data["core_masks"]) if many else 1)
    try:
        known = described(session, model, network)
        return benchmark(session, sources, network, known) if args.benchmark else look_at_all(session, sources, network)
    except WindowClosed:
        return DONE
    finally:
        network.release()


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Let SIGTERM end the program as ^C does."""

    def stop(number: int, frame: Any) -> None:
        del number, frame
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(data: Mapping[str, Any], view: View, argv: Sequence[str] | None = None) -> int:
    """Run and return the exit code."""
    args = parse(argv, data)
    log = RuntimeLog()
    try:
        with _terminated():
            # In a container the host's /proc and /sys may lie elsewhere.
            root = Path(os.environ.get("NPU_INFERENCE_ROOT", "/"))
            return work(Session(args, data, view, Path(__file__).resolve().parent, root, log))
    except Stop as stop:
        sys.stderr.write(f"error: {printable(str(stop))}\n")
        return stop.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:
        return TERMINATED if end.code == TERMINATED else INPUT
    except BrokenPipeError:
        return NO_READER
    finally:
        log.close()
