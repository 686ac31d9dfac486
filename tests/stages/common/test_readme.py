"""The table in docs/models.md of architectures and tasks, against what is supported."""

from __future__ import annotations

from pathlib import Path

from stages.families import FAMILIES
from stages.families.yolo.architectures import ARCHITECTURES, SUFFIXES, TASKS

README = Path(__file__).parents[3] / "docs" / "models.md"


def table() -> list[str]:
    """The table as it has to stand in docs/models.md; `python -m tests.stages.common.test_readme` prints it."""
    made = [f"| Ultralytics | {' | '.join(TASKS[task].replace('_', ' ') for task in SUFFIXES)} |"]
    made.append("|---" * (len(SUFFIXES) + 1) + "|")
    for kind in dict.fromkeys(one.type for one in ARCHITECTURES):
        able = [one.tasks for one in ARCHITECTURES if one.type == kind]
        made.append(
            f"| {kind} | {' | '.join('yes' if any(task in each for each in able) else '-' for task in SUFFIXES)} |"
        )
    (original,) = [family for family in FAMILIES if "yolo_anchors" in family.heads]
    able_to = ("yes" if TASKS[task] == original.task else "-" for task in SUFFIXES)
    return [*made, f"| YOLOv5 of its own repository | {' | '.join(able_to)} |"]


def test_readme_says_which_architecture_does_which_task() -> None:
    assert "\n".join(table()) + "\n" in README.read_text("utf-8"), "\n".join(table())


if __name__ == "__main__":
    print("\n".join(table()))
