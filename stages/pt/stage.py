"""The pt phase: train a checkpoint or take one as it is, write its contract down, measure its baseline."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from mcwbuild.contract import dataset, disk, documents, inherit, training
from mcwbuild.contract.bench import Bench
from mcwbuild.contract.errors import InputError
from mcwbuild.contract.phases import PT
from mcwbuild.contract.resumable import EVALUATIONS, TRAINING
from mcwbuild.contract.stage import Stage
from stages.common import keeping
from stages.common.evaluate import Settings
from stages.common.image_set import open_images
from stages.common.together import together
from stages.families.opened import Wanted, of_checkpoint, open_model, read_inertly
from stages.families.opened import add_arguments as add_trust
from stages.families.source import against_file, generate, read_source
from stages.families.yolo.stock import own_stock, stock
from stages.pt.request import Request
from stages.pt.training import Trained, TrainRequest, require_offline, train


def size(text: str) -> list[int]:
    """`640` or `384,640` as [H, W]."""
    sides = [int(side) for side in text.split(",")]
    if len(sides) not in (1, 2) or min(sides) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a side or height,width in pixels")
    return sides * 2 if len(sides) == 1 else sides


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The phase's own flags."""
    parser.add_argument(
        "--pt", type=Path, help="the checkpoint, best.pt; with --train: the weights or YAML to begin from"
    )
    parser.add_argument("--train", type=Path, metavar="CONFIG", help="train on --data as train.yaml says")
    parser.add_argument("--resume", type=Path, metavar="STATE", help="the state of a training to go on from")
    keeping.add_arguments(parser)
    parser.add_argument("--fresh", action="store_true", help="train from the beginning, whatever state there is")
    parser.add_argument("--source", type=Path, help="training_source.yaml; made from the checkpoint if not given")
    parser.add_argument("--name", help="the model's name in a source that is made")
    parser.add_argument("--imgsz", type=size, help="input size H[,W] in a source that is made; default: as trained")
    parser.add_argument("--task", help="what a network is for that does not tell it, in a source that is made")
    parser.add_argument("--names", type=Path, help="its classes: a text file, one a line in the order of the outputs")
    add_trust(parser)
    parser.add_argument("--describe", action="store_true", help="write training_source.yaml only")


def require(args: argparse.Namespace) -> Request | TrainRequest:
    """Read and check what came in. Raises one error with every problem."""
    if args.train is not None:
        return _training(args)
    if args.pt is None:
        raise InputError("There is no model.", "Neither --pt nor --train is given.", "Give one of them.")
    if args.source is not None and (args.name, args.imgsz, args.task, args.names) != (None,) * 4:
        raise InputError(
            "--name, --imgsz, --task and --names cannot be given with --source.",
            f"{args.source.name} has these values.",
            "Leave them out, or leave --source out.",
        )
    model, document, classes = together(
        lambda: open_model(args),
        lambda: None if args.source is None else read_source(args.source),
        lambda: _classes(args),
    )
    if document is None:
        source = generate(model, Wanted(args.name, args.imgsz, args.task, classes, args.describe))
    else:
        source = against_file(document, model)
    contract = inherit.critical(source)
    found = None if args.describe else open_images(args.data, args.dataset, contract)
    settings = Settings(args.conf, args.iou, args.max_detections, args.threads)
    kept = keeping.place_of(args, EVALUATIONS[PT.name])
    return Request(model, source, found, settings, kept, args.contract_check == "auto")


def _classes(args: argparse.Namespace) -> tuple[str, ...] | None:
    """The class names for a source that is made, where the network does not tell them: of --names, else of --data."""
    if args.names is not None:
        lines = documents.read_text(args.names).removeprefix("\ufeff").splitlines()
        space = " " if args.task == "ocr" else ""  # a character as good as any
        return tuple(name for line in lines if (name := line.strip() or (space if line else "")))
    return dataset.read(args.data).names if args.task is not None and args.data is not None else None


def _training(args: argparse.Namespace) -> TrainRequest:
    """The training that is asked for; the dataset is read when the work has begun, because that takes its time."""
    if args.data is None or args.source is not None or args.imgsz is not None or args.describe:
        raise InputError(
            "A training needs --data, and takes no --source, --imgsz or --describe.",
            "What they say stands in train.yaml, or follows from the training.",
            "Give --train train.yaml --data data.yaml.",
        )
    config = training.read(args.train)
    given: Path | None = args.pt or config.given
    begun, of_stock = None, None
    if args.pt is not None and config.weights is None and args.pt.name != Path(config.model).name:
        raise InputError(
            f"--pt and {config.file.name} name two beginnings.",
            f"The model there is {config.model}.",
            "Leave --pt out, or write the .pt file's name as `model`.",
        )
    if given is None or config.weights is None:
        of_stock = stock(config.model, config.task) if given is None else own_stock(given, config.task)
    else:
        require_offline(given)
        begun = read_inertly(given)
        if config.task not in (None, begun[0].task):
            raise InputError(
                f"{begun[0].file} is not a network for the task {config.task}.", f"Its task is {begun[0].task}."
            )
    own = args.result is None
    state = (args.out / TRAINING.folder if own else args.result.parent / TRAINING.staged) / TRAINING.file
    resume = args.resume or (state if own and not args.fresh and state.is_file() else None)
    settings = Settings(args.conf, args.iou, args.max_detections, args.threads)
    kept = keeping.place_of(args, EVALUATIONS[PT.name])
    return TrainRequest(config, of_stock, begun, args.data, args.name, settings, resume, state, own, kept)


def work(request: Request | TrainRequest, bench: Bench) -> None:
    """Write the package's files into `bench.out`."""
    if isinstance(request, TrainRequest):
        trained = train(request, bench)
        request = _trained(request, trained, bench)
        _measure(request, bench, trained.warnings)
        return
    path = bench.out / PT.source
    documents.write_yaml(path, request.source)
    if request.images is not None:
        shutil.copyfile(request.model.path, bench.out / PT.artefacts[0])
        _measure(request, bench, ())


def _trained(request: TrainRequest, trained: Trained, bench: Bench) -> Request:
    """The trained checkpoint, read as anybody's is, with its source document; both are written into the package."""
    path = bench.out / PT.artefacts[0]
    disk.write_atomic(path, trained.best)
    model = of_checkpoint(*read_inertly(path))
    folder = request.data.absolute() if request.data.is_dir() else request.data.absolute().parent
    source = generate(model, Wanted(request.name or folder.name))
    source["training"] = {**source.get("training", {}), **trained.training}
    source["dataset"] = trained.dataset
    documents.write_yaml(bench.out / PT.source, source)
    images = open_images(request.data, None, inherit.critical(source))
    return Request(model, source, images, request.settings, request.evaluation)


def _measure(request: Request, bench: Bench, warnings: tuple[str, ...]) -> None:
    from stages.pt.baseline import measure  # loads torch: seconds that a refused input need not wait for

    assert request.images is not None
    with bench.step("rebuild", request.source["model"]["type"]) as step:
        network = request.model.build()
        step.result = f"{sum(part.numel() for part in network.parameters()) / 1e6:.2f} M parameters"
    record = measure(network, request, request.images, bench)
    record["issues"] += [
        {"phase": PT.name, "what": "The dataset is doubtful.", "cause": warning, "remedy": "Look at what is named."}
        for warning in warnings
    ]
    documents.write_json(bench.out / PT.performance, record)


def delivered(request: Request | TrainRequest) -> None:
    """The package is there: the states of its training and its evaluation are not needed any more."""
    request.evaluation.forget()
    if isinstance(request, TrainRequest) and request.own_state:
        disk.remove_tree(request.state.parent)


STAGE: Stage[Any] = Stage(
    PT,
    "Train a checkpoint, or take one as it is: write training_source.yaml and measure the baseline.",
    add_arguments,
    require,
    work,
    delivered,
)
