"""Who may speak to whom: addresses, TLS, and the same program on every side."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mcwbuild.contract.errors import EnvironmentLacking, InputError, McwbuildError, Refused
from mcwbuild.contract.events import Event
from mcwbuild.contract.phases import ONNX
from mcwbuild.engines.dask import cluster as clusters
from mcwbuild.engines.dask.cluster import Cluster, require_safe
from mcwbuild.engines.dask.engine import DaskEngine
from tests.integration.dask.conftest import Call
from tests.support.commands import EXAMPLE, mcwbuild
from tests.support.dask_cluster import ROOT, Processes, toy_cluster, toy_engine


def ignore(event: Event) -> None:
    """Nobody listens."""


def own_address() -> str:
    """An address of this machine that others can reach; skips the test, loudly, where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a datagram socket sends nothing for this
            found = str(probe.getsockname()[0])
        except OSError:
            found = "127.0.0.1"
    if found.startswith("127."):
        pytest.skip("NOT RUN, this machine has the loopback address alone")
    return found


def failure(engine: DaskEngine) -> McwbuildError:
    """What the engine says when it connects."""
    try:
        with pytest.raises(McwbuildError) as raised:
            engine.identity(ONNX)
    finally:
        engine.close()
    return raised.value


@pytest.mark.parametrize(
    "address",
    ["tcp://192.0.2.7:8786", "tcp://example.org:8786", "ws://127.0.0.1:8786", "127.0.0.1:8786", "ucx://127.0.0.1:1"],
)
def test_other_addresses_than_tls_and_loopback_are_refused(address: str, tmp_path: Path) -> None:
    error = failure(DaskEngine(Cluster(address, tmp_path)))
    assert isinstance(error, Refused)
    assert address in error.what
    assert "tls://" in error.remedy


@pytest.mark.parametrize(
    "address", ["tls://example.org:8786", "tcp://127.0.0.1:1", "tcp://[::1]:1", "tcp://localhost:1"]
)
def test_tls_and_loopback_are_taken(address: str) -> None:
    require_safe(address, "a scheduler")


@pytest.fixture
def alone(toys: Processes) -> Iterator[Processes]:
    """The toys' scheduler without a worker; those that the test starts are no others'."""
    for name in toys.alive():
        toys.kill(name)
    yield toys
    for name in toys.alive():
        toys.kill(name)


def test_a_worker_on_the_network_is_refused(alone: Processes) -> None:
    address = own_address()
    alone.work("open", host=address)
    error = failure(DaskEngine(alone.cluster, make=toy_engine))
    assert isinstance(error, Refused)
    assert f"tcp://{address}" in error.what
    assert "a worker" in error.what


def test_a_scheduler_that_listens_on_the_network_is_refused(tmp_path: Path) -> None:
    own_address()
    processes = Processes(tmp_path)
    try:
        processes.start(host="0.0.0.0")
        port = processes.address.rpartition(":")[2]
        error = failure(DaskEngine(replace(processes.cluster, scheduler=f"tcp://127.0.0.1:{port}")))
    finally:
        processes.close()
    assert isinstance(error, Refused)
    assert "the scheduler" in error.what


def test_nobody_there_is_one_sentence_and_exit_5(tmp_path: Path) -> None:
    words = ["run", "--pt", EXAMPLE / "best.pt", "--target", "rk3588", "--engine", "dask"]
    done = mcwbuild(
        *words,
        *("--scheduler", "tcp://127.0.0.1:1", "--shared-folder", tmp_path / "shared"),
        cwd=tmp_path,
        environment={"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"},
    )
    assert done.code == 5, done.stderr
    assert "The scheduler tcp://127.0.0.1:1 cannot be reached." in done.stderr
    assert "Traceback" not in done.stderr
    refused = mcwbuild(*words, "--scheduler", "tcp://10.0.0.9:1", "--shared-folder", tmp_path, cwd=tmp_path)
    assert refused.code == 6, refused.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "No --scheduler is given"),
        (["--scheduler", "tcp://127.0.0.1:1"], "no --shared-folder is given"),
        (["--scheduler", "tls://a:1", "--shared-folder", "s", "--dask-tls-ca", "ca.pem"], "--dask-tls-cert and"),
    ],
)
def test_half_of_the_options_is_told_and_exit_2(given: list[str], said: str, tmp_path: Path) -> None:
    words = ["run", "--pt", EXAMPLE / "best.pt", "--target", "rk3588", "--engine", "dask", *given]
    done = mcwbuild(*words, cwd=tmp_path)
    assert done.code == 2, done.stderr
    assert said in done.stderr


def test_a_file_of_a_project_may_not_name_a_scheduler(tmp_path: Path) -> None:
    (tmp_path / "mcwbuild.yaml").write_text("scheduler: tcp://127.0.0.1:8786\n")
    done = mcwbuild("run", "--pt", EXAMPLE / "best.pt", "--target", "rk3588", cwd=tmp_path)
    assert done.code == 2
    assert "scheduler" in done.stderr


def test_another_program_on_a_worker_is_refused_with_both_sides(alone: Processes, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for room in ("mcwbuild", "stages", "schemas", "docker"):
        shutil.copytree(ROOT / room, other / room, ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "stages" / "common" / "metrics.py").open("a") as file:
        file.write("# another version\n")
    alone.work("other", environment={"PYTHONPATH": str(other)})
    error = failure(DaskEngine(alone.cluster, make=toy_engine))
    assert isinstance(error, EnvironmentLacking)
    assert error.kind == "version"
    assert error.found.count("mcwbuild ") == 2
    assert "on the worker tcp://127.0.0.1" in error.found


def test_a_worker_without_mcwbuild_is_refused(alone: Processes, tmp_path: Path) -> None:
    empty = tmp_path / "empty" / "mcwbuild"
    empty.mkdir(parents=True)
    (empty / "__init__.py").write_text("")
    alone.work("bare", environment={"PYTHONPATH": str(empty.parent)})
    error = failure(DaskEngine(alone.cluster, make=toy_engine))
    assert error.kind == "version"
    assert "No module named 'mcwbuild.engines'" in error.found


def test_a_folder_that_a_worker_does_not_see_is_told(
    alone: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    alone.work("elsewhere")  # the working folder of each process is another one
    error = failure(DaskEngine(replace(alone.cluster, shared=Path("/proc/self/cwd/s")), make=toy_engine))
    assert error.kind == "shared"
    assert "finds no file of this machine's in /proc/self/cwd/s" in error.found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate authority, and a node's certificate of it, made by openssl."""
    folder = tmp_path_factory.mktemp("tls")
    if shutil.which("openssl") is None:
        pytest.skip("NOT RUN, there is no openssl")
    for name in ("ca", "other"):
        make(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout",
             f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
        make(folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=node", "-keyout", f"{name}-node.key",
             "-out", f"{name}-node.csr")  # fmt: skip
        make(folder, "x509", "-req", "-in", f"{name}-node.csr", "-CA", f"{name}.pem", "-CAkey", f"{name}.key",
             "-CAcreateserial", "-days", "2", "-out", f"{name}-node.pem")  # fmt: skip
    return folder


def make(folder: Path, *words: str) -> None:
    """Run openssl."""
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def secured(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    flags = ("--tls-ca-file", "ca.pem", "--tls-cert", "ca-node.pem", "--tls-key", "ca-node.key")
    tls = tuple(str(authority / word) if "." in word else word for word in flags)
    made = toy_cluster(tmp_path_factory.mktemp("secured"), 1, tls)
    yield made
    made.close()


def test_with_tls_a_call_goes_its_way(secured: Processes, authority: Path, call: Call, tmp_path: Path) -> None:
    assert secured.address.startswith("tls://")
    files = (authority / name for name in ("ca.pem", "ca-node.pem", "ca-node.key"))
    given = clusters.given(secured.address, secured.shared, "local", *files)
    assert given is not None
    engine = DaskEngine(given, make=toy_engine)
    assert engine.run(call("wait", "0", str(tmp_path / "ledger")), ignore) == 0
    engine.close()


def test_a_certificate_of_another_authority_is_no_entry(secured: Processes, authority: Path) -> None:
    files = (authority / name for name in ("ca.pem", "other-node.pem", "other-node.key"))
    given = clusters.given(secured.address, secured.shared, "local", *files)
    assert given is not None
    assert failure(DaskEngine(given, make=toy_engine)).kind == "scheduler"


def test_a_tls_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such TLS file.*ca\.pem"):
        clusters.given("tls://a:1", tmp_path, "auto", tmp_path / "ca.pem", tmp_path / "c", tmp_path / "k")
