"""The store: the same is not made twice, and what is damaged is never taken."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcwbuild import cleaning, freshness, pipeline
from mcwbuild.contract.events import Noted
from mcwbuild.contract.phases import ONNX, PT
from mcwbuild.store import Store
from tests.support.engines import FakeEngine
from tests.unit.test_pipeline import Told, make, states, steps


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", 1 << 30)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "best.pt").write_bytes(b"weights")
    return tmp_path / "out"


def run(out: Path, store: Store | None, engine: FakeEngine | None = None, **flags: object) -> tuple[list[str], Told]:
    told = Told()
    outcomes = pipeline.execute(steps(out, **flags), engine or FakeEngine(make), out, told, store=store)
    return states(outcomes), told


def entry(store: Store, out: Path, phase: str = "onnx_package") -> Path:
    """The store's copy of a package."""
    return store.folder / "packages" / str(freshness.recorded(out / phase)["key"])


def test_another_folder_takes_everything_and_runs_nothing(out: Path, store: Store) -> None:
    assert run(out, store)[0] == ["made"] * 3
    engine = FakeEngine(make)
    assert run(out.with_name("other"), store, engine)[0] == ["stored"] * 3
    assert engine.calls == []
    for first in (out / "onnx_package").iterdir():
        name, second = first.name, out.with_name("other") / "onnx_package" / first.name
        assert first.read_bytes() == second.read_bytes()
        assert first.stat().st_ino != second.stat().st_ino != (entry(store, out) / name).stat().st_ino


def test_another_target_makes_only_its_own_package(out: Path, store: Store) -> None:
    run(out, store)
    assert run(out.with_name("other"), store, target="rk3576")[0] == ["stored", "stored", "made"]


def test_without_a_store_all_is_made(out: Path, store: Store) -> None:
    run(out, store)
    assert run(out.with_name("other"), None)[0] == ["made"] * 3


@pytest.mark.parametrize(
    "name", ["best.onnx", "onnx_source.yaml", "performance_onnx.json", "manifest.json", "SHA256SUMS"]
)
def test_one_flipped_bit_is_noticed_put_aside_and_made_again(out: Path, store: Store, name: str) -> None:
    run(out, store)
    file = entry(store, out) / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    made, told = run(out.with_name("other"), store)
    assert made == ["stored", "made", "stored"] or made == ["stored", "made", "made"]
    warnings = [event.text for event in told.events if isinstance(event, Noted) and event.level == "warning"]
    assert len(warnings) == 1
    assert "damaged" in warnings[0]
    assert len(list(store.damaged.iterdir())) == 1
    assert run(out.with_name("third"), store)[0][1] == "stored"


@pytest.mark.parametrize("kind", ["link", "fifo", "missing", "extra", "folder"])
def test_a_strange_entry_is_never_taken(out: Path, store: Store, kind: str, tmp_path: Path) -> None:
    run(out, store)
    file = entry(store, out) / "best.onnx"
    if kind != "extra":
        file.unlink()
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes((out / "onnx_package" / "best.onnx").read_bytes())
        file.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "extra":
        file.with_name("more").write_bytes(b"")
    assert run(out.with_name("other"), store)[0][1] == "made"


def test_the_limit_lets_go_what_was_not_taken_for_longest(out: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", 1 << 30)
    run(out, store)
    size = sum(one.size for one in store.entries())
    os.utime(entry(store, out, "rknn_package"), (1, 1))
    small = Store(store.folder, size + 100)
    run(out.with_name("other"), small, target="rk3576")
    assert entry(store, out, "onnx_package").is_dir()
    assert not entry(store, out, "rknn_package").is_dir()
    assert sum(one.size for one in small.entries()) <= small.limit


def test_many_at_once_share_it(out: Path, store: Store) -> None:
    run(out, store)
    places = [out.with_name(f"other{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: run(place, store)[0], places))
    assert found == [["stored"] * 3] * 8
    keys = [f"{number:064x}" for number in range(6)]
    with ThreadPoolExecutor(8) as pool:  # the same key from many sides: one entry, nothing left behind
        list(pool.map(lambda _: store.put(keys[0], out / "pt_package"), range(8)))
    assert not store.leftovers()


def test_a_store_that_cannot_be_written_costs_nothing_but_the_work(out: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run(out, Store(tmp_path / "file" / "store", 1 << 30))[0] == ["made"] * 3


def test_what_a_killed_run_left_is_cleaned_and_nothing_else(
    out: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCWBUILD_CACHE", str(tmp_path / "cache"))
    run(out, store)
    (store.folder / ".tmp-0123456789abcdef").mkdir()
    shutil.copytree(entry(store, out), store.damaged / "some")
    (tmp_path / "cache" / "environments" / "pt-000000000000").mkdir(parents=True)
    (tmp_path / "cache" / "code" / "000000000000").mkdir(parents=True)
    found = cleaning.useless(store, everything=False)
    assert {one.what for one in found} == {
        "leftover of the store", "environment of other locks", "code of another version",
    }  # fmt: skip
    cleaning.remove(store, found)
    assert cleaning.useless(store, everything=False) == []
    assert len(store.entries()) == 3
    cleaning.remove(store, cleaning.useless(store, everything=True))
    assert store.entries() == []


def test_a_phase_cannot_take_another_one_s_package(out: Path, store: Store, tmp_path: Path) -> None:
    run(out, store)
    (tmp_path / "into").mkdir()
    key = str(freshness.recorded(out / "onnx_package")["key"])
    assert not store.take(key, PT, tmp_path / "into", lambda event: None)
    assert list((tmp_path / "into").iterdir()) == []
    assert key not in store
    assert ONNX.package == "onnx_package"
