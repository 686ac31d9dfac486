"""TorchScript archives and exported programs: read without PyTorch; what would do harm is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcwbuild.contract.errors import InputError, McwbuildError, Refused
from stages.common.checkpoint import read as read_checkpoint
from stages.common.checkpoint_file import contents
from stages.families import plain
from stages.families.plain import weights
from stages.families.plain.exported import Exported
from stages.families.plain.opened import PlainFile
from stages.families.plain.script import Script
from tests.support.archives import MODELS, changed, swapped

TRACED, EXPORTED = MODELS / "classifier_traced.pt", MODELS / "classifier.pt2"
CODE = "code/__torch__/shapes_classifier.py"
GRAPH = "models/model.json"


def opened(path: Path) -> PlainFile:
    held = contents(path)
    assert plain.holds(held)
    found = plain.open_inertly(held)
    assert isinstance(found, PlainFile)
    return found


def test_both_forms_hold_the_weights_that_the_safetensors_file_holds() -> None:
    wanted = weights.read(contents(MODELS / "classifier.safetensors"))
    for path in (TRACED, MODELS / "classifier_scripted.pt", EXPORTED):
        program = opened(path).program
        assert isinstance(program, Script | Exported)
        found = {name: tensor.array() for name, tensor, _ in program.tensors()}
        assert found.keys() == wanted.keys()
        assert all(np.array_equal(found[name], array) for name, array in wanted.items())


def test_an_exported_program_tells_its_input_and_the_others_do_not() -> None:
    assert opened(EXPORTED).shape == (1, 3, 64, 64)
    assert opened(TRACED).shape is None


def test_an_ultralytics_reader_names_them_and_says_what_to_do() -> None:
    for path, word in (
        (TRACED, "TorchScript"),
        (EXPORTED, "exported program"),
        (MODELS / "classifier.safetensors", "safe"),
    ):
        with pytest.raises(InputError, match=word):
            read_checkpoint(path)


@pytest.mark.parametrize("name", ["from_file", "save", "as_strided", "set_", "_reshape_alias"])
def test_a_script_that_names_an_operator_of_harm_is_refused_before_anything_runs(tmp_path: Path, name: str) -> None:
    line = f"  def more(self,\n    input: Tensor) -> Tensor:\n    return torch.{name}(input)\n  def forward("
    change = swapped("  def forward(", line)
    with pytest.raises(Refused, match=f"aten::{name}"):
        opened(changed(TRACED, tmp_path / "model.pt", {CODE: change}))


def test_a_class_that_rebuilds_itself_is_refused(tmp_path: Path) -> None:
    line = "  def __setstate__(self):\n    pass\n  def forward("
    path = changed(
        TRACED, tmp_path / "model.pt", {CODE: lambda data: data.replace(b"  def forward(", line.encode(), 1)}
    )
    with pytest.raises(InputError, match="__setstate__"):
        opened(path)


def test_a_pickle_in_a_script_calls_nothing(tmp_path: Path) -> None:
    hostile = b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."
    for record in ("data.pkl", "constants.pkl"):
        with pytest.raises(Refused, match=r"os\.system"):
            opened(changed(TRACED, tmp_path / f"{record}.pt", {record: hostile}))


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    path = changed(TRACED, tmp_path / "model.pt", {"data/0": lambda data: data[:-4]})
    with pytest.raises(Refused, match="does not have the size"):
        opened(path)


def test_compressed_text_is_never_more_than_its_entry_says(tmp_path: Path) -> None:
    path = changed(TRACED, tmp_path / "model.pt", {CODE: lambda data: data + b"#" * 5_000_000})
    raw = bytearray(path.read_bytes())
    name = f"classifier_traced/{CODE}".encode()
    place = -1
    for mark, size_at, name_at in ((b"PK\x03\x04", 22, 30), (b"PK\x01\x02", 24, 46)):  # local header and directory
        while (place := raw.index(mark, place + 1)) + name_at != raw.find(name, place + name_at):
            pass
        raw[place + size_at : place + size_at + 4] = struct.pack("<I", 1000)
    path.write_bytes(raw)
    with pytest.raises(Refused, match="does not have the length"):
        opened(path)


def test_only_a_program_s_text_may_be_compressed(tmp_path: Path) -> None:
    path = changed(EXPORTED, tmp_path / "model.pt2", {}, {"code/more": b"x"})
    assert opened(path).kind == "torch.export"
    import zipfile

    with (
        zipfile.ZipFile(EXPORTED) as source,
        zipfile.ZipFile(tmp_path / "packed.pt2", "w", zipfile.ZIP_DEFLATED) as made,
    ):
        for info in source.infolist():
            made.writestr(info.filename, source.read(info))
    with pytest.raises(InputError, match="compressed"):
        contents(tmp_path / "packed.pt2")


def graph(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def changed_text(data: bytes) -> bytes:
        whole = json.loads(data)
        change(whole)
        return json.dumps(whole).encode()

    return changed_text


def target(name: str) -> Callable[[Any], None]:
    def change(whole: Any) -> None:
        whole["graph_module"]["graph"]["nodes"][1]["target"] = name

    return change


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("torch.ops.aten.from_file.default", Refused),
        ("torch.ops.aten.set_.source_Tensor", Refused),
        ("torch.ops.aten.conv2d_backward.default", InputError),
        ("torch.hub.load", Refused),
        ("_operator.add", InputError),
        ("torch.ops.mylib.relu.default", InputError),
        ("torch.ops.higher_order.cond", InputError),
        ("torch.os.system", InputError),
    ],
)
def test_an_exported_program_that_calls_anything_else_is_refused(
    tmp_path: Path, name: str, kind: type[McwbuildError]
) -> None:
    path = changed(EXPORTED, tmp_path / "model.pt2", {GRAPH: graph(target(name))})
    with pytest.raises(kind) as raised:
        opened(path)
    assert type(raised.value) is kind


def test_compiled_and_pickled_parts_of_an_exported_program_are_refused(tmp_path: Path) -> None:
    for name in ("data/aotinductor/model/model.so", "data/extra/x.so"):
        with pytest.raises(Refused, match="compiled code"):
            opened(changed(EXPORTED, tmp_path / "model.pt2", {}, {name: b"\x7fELF"}))
    configuration = "data/weights/model_weights_config.json"
    pickled = swapped('"use_pickle": false', '"use_pickle": true')
    with pytest.raises(Refused, match="pickle"):
        opened(changed(EXPORTED, tmp_path / "model.pt2", {configuration: pickled}))
    harmless = changed(EXPORTED, tmp_path / "example.pt2", {"data/sample_inputs/model.pt": b"never looked at"})
    assert opened(harmless).shape == (1, 3, 64, 64)


def test_weights_of_an_exported_program_lie_inside_their_records(tmp_path: Path) -> None:
    configuration = "data/weights/model_weights_config.json"

    def longer(whole: Any) -> None:
        next(iter(whole["config"].values()))["tensor_meta"]["sizes"][0]["as_int"] = 10**6

    with pytest.raises(Refused, match="claims more"):
        opened(changed(EXPORTED, tmp_path / "model.pt2", {configuration: graph(longer)}))


@pytest.mark.parametrize("record", [GRAPH, "data/weights/model_weights_config.json"])
@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"graph_module": 3}', b"[" * 5000, b"\xff"])
def test_what_no_exporter_writes_is_damaged(tmp_path: Path, record: str, text: bytes) -> None:
    with pytest.raises(InputError):
        opened(changed(EXPORTED, tmp_path / "model.pt2", {record: text}))


def test_safetensors_that_lie_are_damaged(tmp_path: Path) -> None:
    def file(header: dict[str, Any], numbers: bytes = b"\0" * 8) -> Path:
        text = json.dumps(header).encode()
        path = tmp_path / "model.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)
        return path

    def entry(first: int, last: int, *shape: int, dtype: str = "F32") -> dict[str, Any]:
        return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last]}

    assert weights.read(contents(file({"a": entry(0, 8, 2), "__metadata__": {"x": "y"}})))["a"].tolist() == [0, 0]
    for header in (
        {"a": entry(0, 16, 4)},
        {"a": entry(0, 8, 3)},
        {"a": entry(0, 8, 2), "b": entry(4, 8, 1)},
        {"a": entry(0, 8, 2, dtype="F8_E4M3")},
        {"a": entry(-8, 0, 2)},
        {"a": 3},
    ):
        with pytest.raises(InputError):
            weights.read(contents(file(header)))
