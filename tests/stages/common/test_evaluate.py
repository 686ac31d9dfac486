"""The evaluator with a network whose answers are known, on drawn images."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mcwbuild.contract.errors import ContractBroken, InputError, StageFailed
from mcwbuild.contract.inherit import complete
from stages.common.evaluate import Settings, evaluate
from stages.common.image_set import generated, open_images, spread
from stages.common.tasks import LOW_CONFIDENCE

CONTRACT: dict[str, Any] = complete(
    {
        "model": {"task": "object_detection"},
        "classes": {"names": ["light", "dark"]},
        "input": {"size": [64, 96], "format": "RGB"},
        "preprocessing": {
            "resize": {"method": "letterbox"},
            "normalize": {"enabled": True, "mean": [0, 0, 0], "std": [255, 255, 255]},
        },
    }
)
SETTINGS = Settings(confidence=0.25, iou=0.7, max_detections=300, threads=1, warmup=2)


class Finder:
    """Finds the square in an image by its colour: a network that is always right, in the input's pixels."""

    def __init__(self, broken: bool = False) -> None:
        self.device = {"kind": "CPU", "model": None, "backend": "test"}
        self.fed = 0
        self.broken = broken

    def feed(self, prepared: np.ndarray) -> np.ndarray:
        assert prepared.shape == (64, 96, 3)
        assert prepared.dtype == np.uint8
        self.fed += 1
        return prepared

    def run(self, feed: np.ndarray) -> list[np.ndarray]:
        rows = []
        for label, mask in enumerate(((feed > 200).all(axis=2), (feed < 50).all(axis=2))):
            ys, xs = np.nonzero(mask)
            if len(xs):
                rows.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, 0.9, label])
        table = np.array(rows, np.float32).reshape(-1, 6)
        if self.broken:
            table[:, 0] = np.nan
        return [table]


def decode(outputs: Any, confidence: float) -> Any:
    table = outputs[0][outputs[0][:, 4] > confidence]
    return table[:, :4], table[:, 4], table[:, 5].astype(np.int64)


def drawn(folder: Path, count: int = 6) -> Path:
    """A dataset of grey images of several shapes, each with a light or a dark square."""
    random = np.random.default_rng(4)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        rows, columns = int(random.integers(60, 200)), int(random.integers(60, 200))
        image = np.full((rows, columns, 3), 120, np.uint8)
        x, y = int(columns * 0.2), int(rows * 0.3)
        side = min(rows, columns) // 2
        image[y : y + side, x : x + side] = 255 * (number % 2 == 0)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        centre = ((x + side / 2) / columns, (y + side / 2) / rows)
        text = f"{number % 2} {centre[0]} {centre[1]} {side / columns} {side / rows}\n"
        (folder / "labels" / f"{number}.txt").write_text(text)
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [light, dark]\n")
    return folder / "data.yaml"


def test_a_network_that_is_right_is_measured_as_right(tmp_path: Path) -> None:
    images = open_images(drawn(tmp_path), None, CONTRACT)
    progress: list[tuple[int, int]] = []
    runner = Finder()
    found = evaluate(
        runner,
        decode,
        images.images,
        images.labels,
        CONTRACT,
        SETTINGS,
        lambda done, total: progress.append((done, total)),
    )
    assert found.metrics["map50"] == 1.0
    assert found.metrics["map50_95"] > 0.8  # the square's edge is blurred by the resize
    assert found.metrics["at_confidence"]["recall"] == 1.0
    assert progress == [(n, 6) for n in range(1, 7)]
    assert runner.fed == 6 + SETTINGS.warmup
    assert found.inference["runs"] == 6
    assert found.inference["fps"] > 0
    assert set(found.inference["latency_ms"]) == {"pre", "inference", "post", "total"}
    assert found.not_finite == ()


def test_accuracy_is_judged_below_the_deployed_confidence(tmp_path: Path) -> None:
    images = open_images(drawn(tmp_path), None, CONTRACT)
    asked: list[float] = []

    def listening(outputs: Any, confidence: float) -> Any:
        asked.append(confidence)
        return decode(outputs, confidence)

    strict = Settings(0.95, 0.7, 300, 1)
    found = evaluate(Finder(), listening, images.images, images.labels, CONTRACT, strict)
    assert set(asked) == {0.95, LOW_CONFIDENCE}
    assert found.metrics["map50"] == 1.0
    assert found.metrics["at_confidence"]["recall"] == 0.0


def test_broken_outputs_are_told_and_not_judged(tmp_path: Path) -> None:
    images = open_images(drawn(tmp_path), None, CONTRACT)
    found = evaluate(Finder(broken=True), decode, images.images, images.labels, CONTRACT, SETTINGS)
    assert len(found.not_finite) == 6
    assert found.metrics["map50"] == 0.0


def test_without_labels_speed_is_measured_and_accuracy_is_not(tmp_path: Path) -> None:
    drawn(tmp_path)
    listing = tmp_path / "list.txt"
    listing.write_text("images/1.png\nimages/0.png\n")
    images = open_images(None, listing, CONTRACT)
    found = evaluate(Finder(), decode, images.images, images.labels, CONTRACT, SETTINGS)
    assert found.metrics["status"] == "unmeasured"
    assert found.inference["runs"] == 2
    assert images.record is not None
    assert images.record["labels"] is False


def test_without_any_images_they_are_generated_and_said_to_be() -> None:
    images = open_images(None, None, CONTRACT)
    assert images.source == "generated"
    assert images.configuration == {"dataset": None, "dataset_reason": images.reason}
    again = open_images(None, None, CONTRACT)
    first = list(images.prepared(CONTRACT))
    assert len(first) == images.compared
    assert all(np.array_equal(a, b) for a, b in zip(first, again.prepared(CONTRACT), strict=True))
    assert len({image.tobytes() for image in first}) == len(first)


def test_an_image_that_cannot_be_decoded_is_named_after_all_were_tried(tmp_path: Path) -> None:
    images = open_images(drawn(tmp_path), None, CONTRACT)
    for number in (1, 4):
        (tmp_path / "images" / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n no image IEND")
    with pytest.raises(InputError) as caught:
        evaluate(Finder(), decode, images.images, images.labels, CONTRACT, SETTINGS)
    assert [Path(str(p.file)).name for p in caught.value.problems] == ["1.png", "4.png"]


@pytest.mark.parametrize(
    ("names", "said"),
    [("[dark, light]", "class 0 is 'dark'"), ("[light]", "class 1 is absent"), ("[light, dark, x]", "class 2 is 'x'")],
)
def test_other_class_names_break_the_contract(tmp_path: Path, names: str, said: str) -> None:
    data = drawn(tmp_path)
    data.write_text(f"train: images\nval: images\nnames: {names}\n")
    with pytest.raises(ContractBroken) as caught:
        open_images(data, None, CONTRACT)
    assert said in caught.value.problems[0].message


def test_a_dataset_without_a_split_to_measure_on_is_refused(tmp_path: Path) -> None:
    data = drawn(tmp_path)
    data.write_text("train: images\nnames: [light, dark]\n")
    with pytest.raises(InputError):
        open_images(data, None, CONTRACT)


def test_a_listed_image_that_is_damaged_is_refused(tmp_path: Path) -> None:
    drawn(tmp_path)
    image = tmp_path / "images" / "2.png"
    image.write_bytes(image.read_bytes()[:60])
    listing = tmp_path / "list.txt"
    listing.write_text("images/2.png\n")
    with pytest.raises(InputError, match="truncated"):
        open_images(None, listing, CONTRACT)


def test_places_are_spread_evenly() -> None:
    assert list(spread(3, 10)) == [0, 1, 2]
    assert list(spread(10, 4)) == [0, 2, 5, 7]


def test_generated_images_have_the_inputs_size() -> None:
    assert [image.shape for image in generated([64, 96], 2)] == [(64, 96, 3)] * 2


def test_the_detections_of_a_one_to_one_head_are_not_suppressed() -> None:
    class Twice(Finder):
        """Finds everything twice."""

        def run(self, feed: np.ndarray) -> list[np.ndarray]:
            return [np.concatenate([super().run(feed)[0]] * 2)]

    picture = [np.full((64, 96, 3), 230, np.uint8)]
    for head, count in (({}, 1), ({"nms": False}, 2)):
        found = evaluate(Twice(), decode, picture, None, CONTRACT, SETTINGS.of(head))
        assert [len(one.scores) for one in found.results] == [count]


class Divided(Finder):
    """A finder that says in its boxes' scores which process it ran in."""

    def __init__(self, parent: int, fails: int | None = None) -> None:
        super().__init__()
        self.parent, self.fails, self.copy = parent, fails, False

    def alone(self) -> Divided:
        self.copy = True
        return self

    def run(self, feed: np.ndarray) -> list[np.ndarray]:
        assert self.copy == (os.getpid() != self.parent)
        if self.copy and self.fails is not None:
            if self.fails:
                os.kill(os.getpid(), self.fails)
            raise StageFailed("It does not go on.", "A copy of it said so.")
        table = super().run(feed)[0]
        if self.copy:
            table[:, 4] = 0.8
        return [table]


SHARED = Settings(confidence=0.25, iou=0.7, max_detections=300, threads=3, warmup=1, timed=4)


def test_images_that_are_not_timed_are_shared_by_copies_of_the_process(tmp_path: Path) -> None:
    images = open_images(drawn(tmp_path, 40), None, CONTRACT)
    progress: list[tuple[int, int]] = []
    found = evaluate(
        Divided(os.getpid()),
        decode,
        images.images,
        images.labels,
        CONTRACT,
        SHARED,
        lambda done, total: progress.append((done, total)),
    )
    scores = [one.scores.tolist() for one in found.results]
    assert scores == [[pytest.approx(0.9)]] * 4 + [[pytest.approx(0.8)]] * 36
    assert found.inference["runs"] == 4
    assert progress == [(n, 40) for n in range(1, 41)]
    alone = evaluate(Finder(), decode, images.images, images.labels, CONTRACT, SETTINGS)
    for one, other in zip(found.results, alone.results, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
    assert found.metrics["map50_95"] == alone.metrics["map50_95"]


def test_copies_of_a_process_whose_opencv_has_threads_do_not_wait_for_them(tmp_path: Path) -> None:
    images = open_images(drawn(tmp_path, 24), None, CONTRACT)
    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    cv2.resize(np.zeros((4000, 4000, 3), np.uint8), (3000, 3000))  # now they are there
    found = evaluate(Divided(os.getpid()), decode, images.images, images.labels, CONTRACT, SHARED)
    assert len(found.results) == 24
    assert cv2.getNumThreads() == 4
    cv2.setNumThreads(before)


def test_few_images_and_a_gpu_make_no_copies(tmp_path: Path) -> None:
    images = open_images(drawn(tmp_path, 40), None, CONTRACT)
    assert len(evaluate(Divided(os.getpid()), decode, images.images[:19], None, CONTRACT, SHARED).results) == 19
    runner = Divided(os.getpid())
    runner.device = {**runner.device, "kind": "GPU"}
    assert len(evaluate(runner, decode, images.images, None, CONTRACT, SHARED).results) == 40


def test_what_a_copy_raises_is_raised_and_a_dead_copy_is_told(tmp_path: Path) -> None:
    images = open_images(drawn(tmp_path, 40), None, CONTRACT)
    with pytest.raises(StageFailed, match="A copy of it said so"):
        evaluate(Divided(os.getpid(), 0), decode, images.images, None, CONTRACT, SHARED)
    with pytest.raises(StageFailed, match="ended before its work was done"):
        evaluate(Divided(os.getpid(), signal.SIGKILL), decode, images.images, None, CONTRACT, SHARED)
    assert multiprocessing.active_children() == []


def test_an_image_that_a_copy_cannot_decode_is_named(tmp_path: Path) -> None:
    images = open_images(drawn(tmp_path, 40), None, CONTRACT)
    for number in (2, 39):
        images.images[number].write_bytes(b"\x89PNG\r\n\x1a\n no image IEND")
    with pytest.raises(InputError) as caught:
        evaluate(Divided(os.getpid()), decode, images.images, images.labels, CONTRACT, SHARED)
    names = [Path(str(problem.file)).name for problem in caught.value.problems]
    assert names == [images.images[number].name for number in (2, 39)]
