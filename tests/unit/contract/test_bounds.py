"""Limits: one table, set by the environment, and nothing that hangs or grows without one."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from mcwbuild.contract import artefacts, bounds, dataset, documents
from mcwbuild.contract.errors import InputError
from mcwbuild.engines import invocation
from tests.support.commands import ROOT, mcwbuild

SOON = 5.0  # seconds


def test_a_bound_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    documents.read_json(tmp_path / "a.json")
    monkeypatch.setenv(bounds.DOCUMENT_BYTES.variable, "7")
    with pytest.raises(InputError, match="cannot be read"):
        documents.read_json(tmp_path / "a.json")


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "many", "\u0663", "9" * 30])
def test_what_is_no_bound_is_refused_by_name(text: str) -> None:
    with pytest.raises(InputError) as raised:
        bounds.require({bounds.CLASSES.variable: text, "MCWBUILD_LIMIT_NONE": "1", "HOME": "x"})
    assert [problem.file for problem in raised.value.problems] == [
        "environment MCWBUILD_LIMIT_CLASSES",
        "environment MCWBUILD_LIMIT_NONE",
    ]


def test_a_command_says_so_before_it_does_anything(tmp_path: Path) -> None:
    done = mcwbuild("targets", cwd=tmp_path, environment={bounds.CLASSES.variable: "x"})
    assert (done.code, done.stdout) == (2, "")


def test_stages_see_the_bounds_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(name.startswith(bounds.PREFIX) for name in invocation.bounds())
    monkeypatch.setenv(bounds.IMAGE_PIXELS.variable, "1000")
    found = invocation.bounds()
    assert (found[bounds.IMAGE_PIXELS.variable], found["OPENCV_IO_MAX_IMAGE_PIXELS"]) == ("1000", "1000")


def test_the_table_in_the_documents_is_this_one() -> None:
    assert bounds.table() in (ROOT / "docs" / "security.md").read_text("utf-8")


@pytest.mark.parametrize("claim", ["nc: 999999999999999999999999999999", "nc: 1e300", "nc: 20001"])
def test_a_count_of_classes_is_looked_at_before_any_is_made(tmp_path: Path, claim: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    (tmp_path / "data.yaml").write_text(f"train: images\nval: images\n{claim}\n")
    begun = time.monotonic()
    with pytest.raises(InputError) as raised:
        dataset.read(tmp_path / "data.yaml")
    assert time.monotonic() - begun < SOON
    assert "classes" in raised.value.problems[0].message


def test_pipes_and_devices_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zeros.yaml").symlink_to("/dev/zero")
    (tmp_path / "list.txt").write_text("./pipe.jpg\n")
    (tmp_path / "data.yaml").write_text("train: list.txt\nval: list.txt\nnames: [a]\n")
    begun = time.monotonic()
    for read, path in (
        (documents.read_yaml, tmp_path / "pipe.jpg"),
        (documents.read_yaml, tmp_path / "zeros.yaml"),
        (artefacts.read_onnx, tmp_path / "pipe.jpg"),
        (artefacts.read_rknn, tmp_path / "zeros.yaml"),
        (dataset.read, tmp_path / "data.yaml"),
        (dataset.read_list, tmp_path / "list.txt"),
    ):
        with pytest.raises(InputError) as raised:
            read(path)
        assert raised.value.problems
    assert time.monotonic() - begun < SOON


def test_an_image_that_claims_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    packer, row = zlib.compressobj(9), bytes(3 * 20_000 + 1)
    rows = b"".join(packer.compress(row) for _ in range(20_000)) + packer.flush()  # 1.2 GB in a megabyte
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "bomb.png").write_bytes(data)
    program = (
        "import re, sys\nfrom pathlib import Path\nfrom stages.common import images\n"
        "try: images.read(sys.argv[1])\nexcept ValueError as error: print(error)\n"
        # Its own peak: ru_maxrss begins at what the process that started it had.
        "print(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    environment = {**os.environ, **invocation.bounds(), "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", program, str(tmp_path / "bomb.png")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    said, kilobytes = done.stdout.splitlines()
    assert "more pixels" in said
    assert int(kilobytes) < 300_000


def test_a_full_standard_output_is_one_sentence(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mcwbuild", "targets"]
    with Path("/dev/full").open("w") as full:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    assert (done.returncode, len(done.stderr.splitlines())) == (5, 1), done.stderr
