"""Every way in which a pickle runs code is refused by the function's name, and nothing runs.

Each style is first shown to be an attack: Python's own unpickler rings the bell with it.
"""

from __future__ import annotations

import copyreg
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from mcwbuild.contract.errors import ExitCode, InputError, Refused
from stages.common.checkpoint import read
from tests.support import checkpoint_files as files
from tests.support.checkpoint_files import (
    Raw,
    archive,
    call,
    checkpoint,
    code,
    instance,
    named,
    pickled,
    placed,
    storage,
)
from tests.support.watched import watched


def refusal(path: Path) -> Refused:
    """The refusal of the file, after making sure that reading it only opened it."""
    with pytest.raises((InputError, Refused)):  # warm: lazy imports of numpy and pathlib are no finding
        read(path)
    with watched() as events, pytest.raises(Refused) as caught:
        read(path)
    assert [event for event in events if str(path) not in event and not re.fullmatch(r"open \([0-9]+,\)", event)] == []
    assert caught.value.code is ExitCode.REFUSED
    return caught.value


def short(text: str) -> bytes:
    """SHORT_BINUNICODE."""
    return b"\x8c" + bytes([len(text)]) + text.encode()


def styles(module: str, name: str) -> dict[str, bytes]:
    """Whole pickles that call `module.name("x")`, each in another way."""
    target, line = named(module, name), f"{module}\n{name}\n".encode()
    stack = short(module) + short(name) + b"\x93"
    framed = stack + code(("x",)) + b"R."
    memo = short(module) + b"\x94" + short(name) + b"\x94"
    return {
        "REDUCE": b"\x80\x02" + call(module, name, "x") + b".",
        "REDUCE of protocol 0": b"c" + line + b"(S'x'\ntR.",
        "STACK_GLOBAL": b"\x80\x04" + stack + code(("x",)) + b"R.",
        "STACK_GLOBAL from the memo": b"\x80\x04" + memo + b"00h\x00h\x01\x93" + code(("x",)) + b"R.",
        "memo overwritten": b"\x80\x02" + code("harmless") + b"q\x000" + target + b"q\x000h\x00" + code(("x",)) + b"R.",
        "INST": b"(S'x'\ni" + line + b".",
        "OBJ": b"(" + target + code("x") + b"o.",
        "nested": pickled({"a": [{"b": (call(module, name, "x"),)}]}),
        "in the arguments of a benign call": pickled(
            call("collections", "OrderedDict", [("a", call(module, name, "x"))])
        ),
        "thrown away": b"\x80\x02" + call(module, name, "x") + b"0N.",
        "behind a frame": b"\x80\x04\x95" + struct.pack("<Q", len(framed)) + framed,
        "through copyreg": b"\x80\x02" + call("copyreg", "__newobj__", named(module, name)) + b".",
    }


STYLES = tuple(styles(*files.CANARY))


@pytest.mark.parametrize("style", [style for style in STYLES if style != "through copyreg"])
def test_the_attacks_are_attacks(style: str) -> None:
    files.RUNG.clear()
    pickle.loads(styles(*files.CANARY)[style])
    assert files.RUNG == [("x",)]


@pytest.mark.parametrize("style", STYLES)
def test_a_call_is_refused_and_nothing_runs(tmp_path: Path, style: str) -> None:
    files.RUNG.clear()
    error = refusal(placed(tmp_path, archive(styles(*files.CANARY)[style])))
    expected = "copyreg.__newobj__" if style == "through copyreg" else ".".join(files.CANARY)
    assert expected in error.what
    assert files.RUNG == []


@pytest.mark.parametrize("style", [style for style in STYLES if style != "through copyreg"])
def test_a_bare_pickle_is_refused_too(tmp_path: Path, style: str) -> None:
    """`torch.load` reads the format before 1.6, which is no archive."""
    assert ".".join(files.CANARY) in refusal(placed(tmp_path, styles(*files.CANARY)[style])).what


FUNCTIONS = [
    ("posix", "system", "os.system"),
    ("os", "system", "os.system"),
    ("__builtin__", "eval", "builtins.eval"),
    ("builtins", "exec", "builtins.exec"),
    ("subprocess", "Popen", "subprocess.Popen"),
    ("importlib", "import_module", "importlib.import_module"),
    ("torch.hub", "load", "torch.hub.load"),
    ("torch.utils.cpp_extension", "load_inline", "load_inline"),
    ("torch.storage", "_load_from_bytes", "torch.storage._load_from_bytes"),
    ("numpy.testing._private.utils", "runstring", "runstring"),
    ("functools", "partial", "functools.partial"),
    ("operator", "attrgetter", "operator.attrgetter"),
    ("ultralytics.nn.tasks", "DetectionModel", "ultralytics.nn.tasks.DetectionModel"),
    ("ultralytics.utils.checks", "check_requirements", "check_requirements"),
]


@pytest.mark.parametrize(("module", "name", "told"), FUNCTIONS)
def test_the_function_is_named(tmp_path: Path, module: str, name: str, told: str) -> None:
    for style in ("REDUCE", "STACK_GLOBAL", "INST", "OBJ"):
        error = refusal(placed(tmp_path, archive(styles(module, name)[style])))
        assert error.what.startswith("best.pt would call ")
        assert told in error.what


def test_the_activation_trick_is_refused(tmp_path: Path) -> None:
    """The constructor of the allowed class evaluates text: weights_only with an allow-list ran it."""
    trick = call("ultralytics.nn.tasks", "DetectionModel", {"activation": "__import__('os').system('id')", "nc": 1})
    assert "ultralytics.nn.tasks.DetectionModel" in refusal(placed(tmp_path, checkpoint(model=trick))).what


def dotted() -> bytes:
    """A global of protocol 4 reaches through attributes."""
    return b"\x80\x04" + short("torch") + short("hub.load") + b"\x93" + code(("x",)) + b"R."


def setstate_from_state() -> bytes:
    """The state brings its own `__setstate__`, which the second BUILD would call."""
    state = code({"__setstate__": named("posix", "system")})
    return b"\x80\x02" + named("torch.nn.modules.linear", "Identity") + b")\x81" + state + b"b" + code("id") + b"b."


OTHER: dict[str, tuple[Callable[[], bytes], str]] = {
    "extension registry": (lambda: b"\x80\x02\x82\x07" + code(()) + b"R.", "number 7 of the extension registry"),
    "wide extension": (lambda: b"\x80\x02\x84\x01\x00\x00\x00.", "number 1 of the extension registry"),
    "NEWOBJ with arguments": (
        lambda: b"\x80\x02" + named("ultralytics.nn.tasks", "DetectionModel") + code(("x",)) + b"\x81.",
        "ultralytics.nn.tasks.DetectionModel",
    ),
    "NEWOBJ of a class that runs": (
        lambda: pickled(instance("subprocess", "Popen", {"args": "id"})),
        "subprocess.Popen",
    ),
    "NEWOBJ_EX": (
        lambda: b"\x80\x04" + named("logging", "FileHandler") + b")" + code({"filename": "x"}) + b"\x92.",
        "logging.FileHandler",
    ),
    "setstate from the state": (setstate_from_state, "os.system"),
    "BUILD of a module": (
        lambda: b"\x80\x02" + named("torch", "load") + code({"__code__": None}) + b"b.",
        "__code__",
    ),
    "BUILD of a function": (lambda: b"\x80\x02" + named("torch", "load") + code({"a": 1}) + b"b.", "torch.load"),
    "dotted global": (dotted, "torch.hub.load"),
    "getattr of a module": (
        lambda: pickled(call("builtins", "getattr", named("builtins", "__import__"), "__call__")),
        "builtins.getattr",
    ),
    "method of a dead object": (
        lambda: pickled(
            Raw(
                call("builtins", "getattr", instance("torch.nn.modules.linear", "Identity", {}), "load_state_dict")
                + code(())
                + b"R"
            )
        ),
        "torch.nn.modules.linear.Identity.load_state_dict",
    ),
    "a default factory": (lambda: pickled(call("collections", "defaultdict", named("posix", "system"))), "defaultdict"),
    "a wrapper that calls": (
        lambda: pickled(call("torch._tensor", "_rebuild_from_type_v2", named("posix", "system"), None, ("id",), {})),
        "os.system",
    ),
    "a reconstructor": (
        lambda: pickled(
            call("copyreg", "_reconstructor", named("subprocess", "Popen"), named("builtins", "object"), None)
        ),
        "subprocess.Popen",
    ),
    "a name that hides": (lambda: pickled(call("os\x1b[2J", "system", "x")), r"os\x1b[2J.system"),
}


@pytest.mark.parametrize("kind", OTHER)
def test_other_ways_to_run_code_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    make, told = OTHER[kind]
    assert told in refusal(placed(tmp_path, archive(make()))).what


def test_a_registered_extension_does_not_help(tmp_path: Path) -> None:
    copyreg.add_extension(*files.CANARY, 9)
    try:
        attack = b"\x80\x02\x82\x09" + code(("x",)) + b"R."
        files.RUNG.clear()
        pickle.loads(attack)
        assert files.RUNG == [("x",)]
        files.RUNG.clear()
        assert "extension registry" in refusal(placed(tmp_path, archive(attack))).what
        assert files.RUNG == []
    finally:
        copyreg.remove_extension(*files.CANARY, 9)


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "0/../1", "", "0\x00", "٣"])
def test_a_storage_outside_the_archive_is_an_escape(tmp_path: Path, key: str) -> None:
    error = refusal(placed(tmp_path, archive(pickled(storage(key, 4)), {"data/0": b"\0" * 16})))
    assert "outside" in error.found


def test_another_persistent_identifier_is_refused(tmp_path: Path) -> None:
    assert "outside" in refusal(placed(tmp_path, archive(pickled(Raw(code(("module", "x.py")) + b"Q"))))).found


VIEWS = {
    "stride bomb": ((100_000, 100_000), (0, 0), 0),
    "beyond the end": ((4,), (1,), 1),
    "a step too far": ((2,), (5,), 0),
    "negative length": ((-1,), (1,), 0),
    "negative step": ((2,), (-1,), 1),
    "negative offset": ((2,), (1,), -1),
    "more steps than lengths": ((2,), (1, 1), 0),
    "many dimensions": ((1,) * 9, (1,) * 9, 0),
    "an empty giant": ((0, 2**30), (1, 1), 0),
    "lengths that are no numbers": ((True, 1), (1, 1), 0),
}


@pytest.mark.parametrize("kind", VIEWS)
def test_views_that_a_tensor_cannot_have_are_refused(tmp_path: Path, kind: str) -> None:
    size, stride, offset = VIEWS[kind]
    bomb = files.tensor(storage("0", 4), size, stride, offset)
    refusal(placed(tmp_path, archive(pickled({"model": bomb}), {"data/0": b"\0" * 16})))


@pytest.mark.parametrize("count", [3, 5, 2**30, -1])
def test_a_storage_of_another_size_is_refused(tmp_path: Path, count: int) -> None:
    refusal(placed(tmp_path, archive(pickled(storage("0", count)), {"data/0": b"\0" * 16})))
