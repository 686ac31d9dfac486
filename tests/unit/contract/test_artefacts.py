"""What is read back from the bytes of models: files that the real toolkits wrote, and damaged ones."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcwbuild.contract.artefacts import OnnxFacts, RknnFacts, Tensor, read_onnx, read_rknn
from mcwbuild.contract.errors import InputError

MODELS = Path(__file__).parents[2] / "contract" / "models"
OUTPUTS = (("y", (1, 4, 16, 32)), ("z", (1, 2, 16, 32)))


def field(number: int, value: bytes | int) -> bytes:
    """One protobuf field, written by hand."""

    def varint(n: int) -> bytes:
        made = b""
        while True:
            n, low = n >> 7, n & 0x7F
            made += bytes([low | (0x80 if n else 0)])
            if not n:
                return made

    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name: bytes, *dimensions: bytes | int) -> bytes:
    dims = b"".join(field(1, field(2, d) if isinstance(d, bytes) else field(1, d) if d else b"") for d in dimensions)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def onnx_file(path: Path, graph: bytes, *more: bytes) -> Path:
    path.write_bytes(field(1, 8) + field(8, field(2, 19)) + b"".join(more) + field(7, graph))
    return path


def refusal(path: Path, read: object) -> InputError:
    assert callable(read)
    with pytest.raises(InputError) as caught:
        read(path)
    return caught.value


def test_an_onnx_file_tells_its_tensors_opset_and_metadata() -> None:
    facts = read_onnx(MODELS / "tiny.onnx")
    assert facts == OnnxFacts(
        inputs=(Tensor("images", "float32", (1, 3, 16, 32)),),
        outputs=tuple(Tensor(name, "float32", shape) for name, shape in OUTPUTS),
        opset=17,
        ir_version=8,
        producer="tiny",
        metadata={"mcwbuild.version": "0.1.0", "mcwbuild.contract": "{}"},
        external=False,
    )


def test_free_dimensions_weights_as_inputs_and_outside_weights_are_told(tmp_path: Path) -> None:
    weight = field(5, field(8, b"w") + field(14, 1))
    graph = weight + field(11, tensor(b"x", b"batch", 3, 0, (1 << 64) - 1)) + field(11, tensor(b"w", 4))
    facts = read_onnx(onnx_file(tmp_path / "a.onnx", graph + field(12, tensor(b"y"))))
    assert facts.inputs == (Tensor("x", "float32", ("batch", 3, None, -1)),)
    assert facts.external


def test_metadata_that_says_two_things_is_refused(tmp_path: Path) -> None:
    graph = field(11, tensor(b"x", 1)) + field(12, tensor(b"y", 1))
    twice = [field(14, field(1, b"mcwbuild.contract") + field(2, value)) for value in (b"{}", b"[]")]
    assert "twice" in refusal(onnx_file(tmp_path / "a.onnx", graph, *twice), read_onnx).what


@pytest.mark.parametrize("content", [b"", b"not a model\n", b"\0" * 100, b"\xff" * 100, b"PK\x03\x04" + b"x" * 200])
def test_what_is_no_model_is_refused_in_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "best.onnx"
    path.write_bytes(content)
    for read, kind in ((read_onnx, "onnx"), (read_rknn, "unknown-layout")):
        error = refusal(path, read)
        assert error.kind == kind
        assert error.what.startswith(f"{path} is not a")
        assert "\n" not in str(error)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in str(refusal(tmp_path / "best.onnx", read_onnx))
    assert "directory" in str(refusal(tmp_path, read_rknn))


@pytest.mark.parametrize("part", [0.01, 0.3, 0.7, 0.99])
@pytest.mark.parametrize(("name", "read"), [("tiny.onnx", read_onnx), ("tiny_int8.rknn", read_rknn)])
def test_a_truncated_model_is_refused(name: str, read: object, part: float, tmp_path: Path) -> None:
    whole = (MODELS / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * part)])
    assert refusal(tmp_path / name, read).code == 2


@settings(max_examples=200)
@given(name=st.sampled_from(["tiny.onnx", "tiny_int8.rknn"]), data=st.data())
def test_a_damaged_model_is_read_or_refused_and_nothing_else(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray((MODELS / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    path.write_bytes(content)
    try:
        facts = read_onnx(path) if name.endswith("onnx") else read_rknn(path)
    except InputError:
        return
    assert facts.inputs
    assert facts.outputs


def test_an_int8_rknn_tells_what_the_toolkit_was_given() -> None:
    facts = read_rknn(MODELS / "tiny_int8.rknn")
    assert facts == RknnFacts(
        toolkit="2.3.2",
        compiler="2.3.2 (e045de294f@2025-04-07T19:48:25)",
        target=("rk3588",),
        inputs=(Tensor("images", "int8", (1, 3, 16, 32)),),
        outputs=tuple(Tensor(name, "int8", shape) for name, shape in OUTPUTS),
        mean=(10.0, 20.0, 30.0),
        std=(255.0, 128.0, 64.0),
        rgb2bgr=True,
        layout="NCHW",
        custom_string=facts.custom_string,
        quantized=True,
        mini=False,
    )
    custom = json.loads(facts.custom_string or "")
    assert custom == {"mcwbuild": "0.1.0", "contract_sha256": "0123456789abcdef" * 4, "model": "it's é"}


def test_an_fp16_rknn_is_not_quantized_and_has_no_custom_string() -> None:
    facts = read_rknn(MODELS / "tiny_fp16.rknn")
    assert not facts.quantized
    assert facts.custom_string is None
    assert {item.dtype for item in (*facts.inputs, *facts.outputs)} == {"float16"}
    assert (facts.mean, facts.std, facts.rgb2bgr) == ((0.0,) * 3, (255.0,) * 3, False)


def edited(tmp_path: Path, old: bytes, new: bytes) -> Path:
    """The real file with a text in it replaced by one of the same length."""
    content = (MODELS / "tiny_int8.rknn").read_bytes()
    assert content.count(old) >= 1
    assert len(old) == len(new)
    path = tmp_path / "edited.rknn"
    path.write_bytes(content.replace(old, new))
    return path


def test_one_mean_for_all_channels_is_spread(tmp_path: Path) -> None:
    assert read_rknn(edited(tmp_path, b"'mean': [10, 20, 30]", b"'mean': [7]         ")).mean == (7.0, 7.0, 7.0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"'mean': [10, 20, 30]", b"'mean': [10, 20]    "),
        (b"'mean': [10, 20, 30]", b"'mean': 'a, 20, 30' "),
        (b"'rgb2bgr': True", b"'rgb2bgr': 1   "),
        (b"'shape': [1, 3, 16, 32], 'layout'", b"'shape': [1, 3, 32, 16], 'layout'"),
        (b'"left":"output"', b'"left":"outpux"'),
        (b"{'attrs':", b"{'attrz':"),
        (b"compiler version", b"compiler vexsion"),
        (b'"target_platform":["rk3588"]', b'"target_platform":[335588.5]'),
    ],
)
def test_a_layout_that_is_not_known_is_refused_and_not_guessed(old: bytes, new: bytes, tmp_path: Path) -> None:
    assert refusal(edited(tmp_path, old, new), read_rknn).kind == "unknown-layout"


def test_a_custom_string_counts_only_with_its_length_before_it(tmp_path: Path) -> None:
    content = bytearray((MODELS / "tiny_int8.rknn").read_bytes())
    at = content.index(b'{"mcwbuild"')
    struct.pack_into("<I", content, at - 4, 5000)
    (tmp_path / "a.rknn").write_bytes(content)
    assert read_rknn(tmp_path / "a.rknn").custom_string is None
