"""The parent's side of the toolkit's process, with small programs in the toolkit's place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from mcwbuild.contract.errors import EnvironmentLacking, InputError, StageFailed
from mcwbuild.contract.events import Event, Progressed, Started
from stages.rknn import build, children
from stages.rknn.children import Child, Loader
from stages.rknn.ground import Ground
from stages.rknn.job import Job, Measured, Quantization
from stages.rknn.splitting import Split

LOGS = Path(__file__).with_name("logs")
ROOT = Path(__file__).parents[4]
MEASURED = Measured(
    device={"kind": "simulator", "backend": "none", "versions": {"rknn-toolkit2": "2.3.2"}},
    metrics={},
    inference={},
    comparison={"outputs": [], "images": 0, "reference": 0, "build": 0},
    not_finite=[],
    seconds={"build": 1.0},
    peak_kb=1,
)
SUCCESS = f"json.dump({{'measured': json.loads({json.dumps(asdict(MEASURED))!r})}}, open(answer, 'w'))"
LOADS = """
import json, os, signal, sys, time
from stages.rknn.splitting import wait_for_order
sys.stdout.reconfigure(line_buffering=True)
loaded = os.getpid()
{loading}
order = wait_for_order(int(sys.argv[1]))
if order is None:
    sys.exit()
answer = order.folder / "answer.json"
{program}
"""


def job(tmp_path: Path) -> Job:
    return Job(
        name="int8",
        variant="int8",
        model="model.onnx",
        export=str(tmp_path / "made.rknn"),
        platform="rk3588",
        optimization_level=3,
        quantization=Quantization("normal", "channel", 4),
        mean=(0.0,),
        std=(255.0,),
        custom_string="",
        calibration=None,
        contract={},
        head={},
        images=("a", "b"),
        labelled=False,
        confidence=0.25,
        iou=0.7,
        max_detections=300,
        threads=1,
    )


EITHER = pytest.mark.parametrize("splits", [True, False], ids=["split", "alone"])


def loader(tmp_path: Path, program: str, loading: str = "", splits: bool = True) -> Loader:
    code = LOADS.format(loading=loading, program=program)
    ground = Ground()
    ground.folder.rmdir()  # its own is not used
    return Loader(tmp_path / "loaded", 1, ground, (sys.executable, "-P", "-c", code), splits=splits)


def run(
    tmp_path: Path,
    program: str,
    events: list[Event] | None = None,
    silence: float = 60.0,
    loading: str = "",
    splits: bool = True,
) -> build.Built:
    emit = (lambda event: None) if events is None else events.append
    made = loader(tmp_path, program, loading, splits)
    try:
        return build.run(job(tmp_path), Child(tmp_path / "job", made), emit, silence)
    finally:
        made.end()


def test_a_job_survives_the_way_to_the_child(tmp_path: Path) -> None:
    job(tmp_path).write(tmp_path / "job.json")
    assert Job.read(tmp_path / "job.json") == job(tmp_path)


def test_the_answer_comes_back_and_events_pass_through(tmp_path: Path) -> None:
    events: list[Event] = []
    program = (
        "pipe = os.fdopen(order.pipe, 'w')\n"
        'pipe.write(\'{"event":"started","name":"int8 build"}\\nnot json\\n\')\n'
        'pipe.write(\'{"event":"progressed","name":"int8 build","done":1,"total":2}\\n\')\n'
        f"pipe.close()\n{SUCCESS}"
    )
    assert run(tmp_path, program, events).measured == MEASURED
    assert events == [Started("int8 build"), Progressed("int8 build", 1, 2)]


def test_both_outputs_reach_the_log_from_below_python_too(tmp_path: Path) -> None:
    program = f"os.write(1, b'D RKNN: out\\n'); os.write(2, b'E build: bad\\n'); {SUCCESS}"
    assert run(tmp_path, program).log.errors == ("build: bad",)


@EITHER
def test_the_child_has_an_empty_folder_its_own_temporary_one_and_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, splits: bool
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    program = (
        "seen = {'files': os.listdir(), 'env': dict(os.environ), 'cwd': os.getcwd(), 'session': os.getsid(0)}\n"
        f"json.dump(seen, open({str(tmp_path / 'seen.json')!r}, 'w'))\n{SUCCESS}"
    )
    run(tmp_path, program, splits=splits)
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["files"] == []
    assert "AWS_SECRET_ACCESS_KEY" not in seen["env"]
    assert set(seen["env"]) <= {
        *("HOME", "PATH", "TMPDIR", "PYTHONPATH", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS"),
        *("LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "TZ"),
    }
    assert Path(seen["env"]["TMPDIR"]).parent == Path(seen["cwd"]).parent == tmp_path / "job"
    assert seen["session"] != os.getsid(0)


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("os.abort()", "compiler"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "compiler-crash"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "out-of-memory"),
        ("sys.exit(3)", "toolkit"),
        ("pass", "toolkit"),
        ("time.sleep(60)", "hang"),
        ("json.dump({'failure': {'step': 'build', 'cause': 'build returned -1'}}, open(answer, 'w'))", "toolkit"),
        (f"print(open({str(LOGS / 'det_unsupported.txt')!r}).read()); {SUCCESS}", "operator-simulated"),
        (f"print(open({str(LOGS / 'rk2118_int8_abort.txt')!r}).read()); os.abort()", "conv-unsupported"),
    ],
)
@EITHER
def test_every_way_to_fail_is_a_stage_failure_with_its_kind(
    tmp_path: Path, program: str, kind: str, splits: bool
) -> None:
    with pytest.raises(StageFailed) as caught:
        run(tmp_path, program, silence=2.0 if kind == "hang" else 60.0, splits=splits)
    assert caught.value.kind == kind
    assert caught.value.what
    assert caught.value.found
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("loading", "kind"),
    [
        ("os.abort()", "compiler"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "out-of-memory"),
        ("sys.exit(3)", "toolkit"),
        ("time.sleep(60)", "hang"),
        ("print('E build: no such file'); sys.exit(1)", "toolkit"),
    ],
)
@EITHER
def test_what_fails_while_it_loads_fails_the_build(tmp_path: Path, loading: str, kind: str, splits: bool) -> None:
    with pytest.raises(StageFailed) as caught:
        run(tmp_path, SUCCESS, loading=loading, silence=2.0 if kind == "hang" else 60.0, splits=splits)
    assert caught.value.kind == kind
    if "print" in loading:
        assert "no such file" in caught.value.found


def test_each_build_has_a_process_and_what_is_loaded_is_loaded_once(tmp_path: Path) -> None:
    program = (
        "print(loaded, os.getpid(), os.getppid(), flush=True)\nif order.folder.name == '1': os.abort()\n" + SUCCESS
    )
    made = loader(tmp_path, program)
    with pytest.raises(StageFailed):
        build.run(job(tmp_path), Child(tmp_path / "1", made), lambda event: None)
    build.run(job(tmp_path), Child(tmp_path / "2", made), lambda event: None)
    made.end()
    said = [[int(word) for word in (tmp_path / name / "toolkit.log").read_text().split()] for name in "12"]
    assert [parent for _, _, parent in said] == [os.getpid()] * 2
    assert {before for before, _, _ in said} == {made.process.pid}
    assert len({made.process.pid, *(own for _, own, _ in said)}) == 3


def test_several_threads_wait_for_one_process() -> None:
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            time.sleep(0.02)
            os._exit(3)
        process = Split(pid)
        with ThreadPoolExecutor(4) as pool:
            assert [one.result() for one in [pool.submit(process.wait) for _ in range(4)]] == [3] * 4


@pytest.mark.parametrize("loading", ["", "time.sleep(60)"])
@EITHER
def test_builds_that_are_abandoned_end_whether_they_have_begun_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loading: str, splits: bool
) -> None:
    code = LOADS.format(loading=loading, program="print('works', flush=True); time.sleep(60)")
    monkeypatch.setattr(children, "CHILD", (sys.executable, "-P", "-c", code))
    every = children.Children(1, ("fp16",), Ground(), alone=not splits)
    child = every.of("fp16")
    child.give(job(tmp_path))
    if not loading:
        assert child.begins(60.0)
    every.kill()
    assert child.begins(60.0) if loading else True
    child.end()
    assert -signal.SIGKILL in (child.returncode, child.process and child.process.returncode)
    with pytest.raises(children.Abandoned):
        every.of("int8")
    every.end()
    assert not every.folder.exists()


def test_a_child_that_speaks_is_not_taken_for_hung(tmp_path: Path) -> None:
    program = f"for _ in range(8):\n    print('I Loading'); time.sleep(0.5)\n{SUCCESS}"
    assert run(tmp_path, program, silence=2.0).measured == MEASURED


@EITHER
def test_what_the_hung_child_started_dies_with_it(tmp_path: Path, splits: bool) -> None:
    program = (
        "import subprocess\n"
        f"child = subprocess.Popen(['sleep', '300']); open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(300)"
    )
    with pytest.raises(StageFailed):
        run(tmp_path, program, silence=2.0, splits=splits)
    assert wait_for_end(int((tmp_path / "pid").read_text()))


def test_typed_errors_cross_the_process(tmp_path: Path) -> None:
    data = InputError("what", "found", "remedy", kind="dataset").as_dict()
    with pytest.raises(InputError, match="what found remedy"):
        run(tmp_path, f"json.dump({{'error': {data!r}}}, open(answer, 'w'))")


def test_an_environment_without_the_toolkit_is_told_so(tmp_path: Path) -> None:
    data = {"failure": {"step": "import", "cause": "No module named 'rknn'"}}
    with pytest.raises(EnvironmentLacking, match="image or environment"):
        run(tmp_path, f"json.dump({data!r}, open(answer, 'w'))")


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    parent = (
        "import os, subprocess, sys, time\n"
        "code = 'import sys; from stages.common.leash import tie_to; tie_to(int(sys.argv[1])); '\n"
        "code += 'print(\"tied\", flush=True); import time; time.sleep(300)'\n"
        "child = subprocess.Popen([sys.executable, '-c', code, str(os.getpid())], start_new_session=True,\n"
        "                         stdout=subprocess.PIPE)\n"
        'assert child.stdout.readline() == b"tied\\n"; print(child.pid, flush=True); time.sleep(300)\n'
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    assert wait_for_end(child)


def test_what_loads_and_what_builds_die_with_the_stage(tmp_path: Path) -> None:
    code = LOADS.format(loading="", program="time.sleep(300)")
    stage = (
        "import sys, threading, time\n"
        "from pathlib import Path\n"
        "from stages.rknn.children import Child, Loader\n"
        "from stages.rknn.ground import Ground\n"
        "from tests.unit.stages.rknn.test_build import job\n"
        "folder = Path(sys.argv[1])\n"
        "made = Loader(folder / 'loaded', 1, Ground(), (sys.executable, '-P', '-c', sys.argv[2]))\n"
        "child = Child(folder / 'job', made)\n"
        "thread = threading.Thread(target=lambda: (child.give(job(folder)), child.begins(60)))\n"
        "thread.start(); thread.join()\n"
        "print(made.process.pid, child.process.pid, flush=True); time.sleep(300)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", stage, str(tmp_path), code]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        every = [int(word) for word in process.stdout.readline().split()]
        assert len(every) == 2
        time.sleep(0.2)
        assert not any(map(is_gone, every))  # the thread that had them begin is over
        process.send_signal(signal.SIGKILL)
    assert all(map(wait_for_end, every))


def wait_for_end(pid: int) -> bool:
    """Whether the process is gone, or only waits to be reaped, within 10 s."""
    for _ in range(100):
        if is_gone(pid):
            return True
        time.sleep(0.1)
    return False


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
