"""What `train` and `run --train-config` share: the configuration and the dataset read, the first step made of them."""

from __future__ import annotations

from pathlib import Path

from mcwbuild import plan
from mcwbuild.contract import dataset, look, names, training
from mcwbuild.contract.dataset import Dataset
from mcwbuild.contract.errors import InputError
from mcwbuild.options import Settings
from mcwbuild.plan import Step

_ELSEWHERE = {"source": "It follows from the training.", "imgsz": "It stands in the configuration."}


def first_step(config: Path, chosen: Settings, *, anew: bool) -> tuple[Step, Dataset, Path]:
    """The training's step, its dataset and the output folder.

    What is wrong with the dataset is told by the stage, all at once; here it is raised only where there are no
    images at all. Raises InputError.
    """
    for name, why in _ELSEWHERE.items():
        if chosen.origins[name].startswith("flag "):
            raise InputError(f"--{name} cannot be given with a training.", why, "Leave it out.")
    if chosen["data"] is None:
        raise InputError("A training needs a dataset.", "No --data is given.", "Add --data data.yaml.")
    names.require_file_names([config, chosen["data"]])
    read = training.read(config)
    weights = read.weights
    if weights is not None and not look.is_file(weights):
        raise InputError(
            f"The weights {weights} are not there.",
            "Nothing is downloaded here.",
            "Fetch the file yourself, or name an architecture such as yolo11n.yaml.",
            kind="missing",
        )
    found, problems = dataset.examine(chosen["data"])
    if problems and not found.splits:
        dataset.read(chosen["data"])
    name = plan.model_name(chosen, None, chosen["data"])
    out = plan.out_folder(chosen, name)
    return plan.train_step(config, read.given, name, chosen, found, out, anew=anew), found, out
