"""A stage that does what no stage should, and writes down how far it came; standard library only.

It runs in a container made by the docker engine. Its deeds: `probe`, `eat`, `tree KIND`, `fill`, `done`.
"""

import argparse
import ctypes
import errno
import json
import os
import resource
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path


def attempt(deed):
    """`done`, or the name of the error that stopped it."""
    try:
        deed()
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
    return "done"


def status():
    """The process's own line of /proc/self/status, by name."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def connect(host, port):
    """A TCP connection, at most a second long."""
    with socket.create_connection((host, int(port)), 1):
        pass


def limit(*names):
    """The first control file that is there, as a number; cgroup v2 or v1."""
    for name in names:
        if (path := Path("/sys/fs/cgroup", name)).exists():
            return int(path.read_text())
    return None


def forks():
    """How many children there can be at once."""
    children = []
    try:
        while len(children) < 5000:
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
    except OSError:
        pass
    finally:
        for child in children:
            os.kill(child, 9)
        for child in children:
            os.waitpid(child, 0)
    return len(children)


def syscall(number, *words):
    """A system call that libc has no function for here; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *words) < 0:
        raise OSError(ctypes.get_errno(), "")


def mount():
    """Mount a tmpfs."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, b"") != 0:
        raise OSError(ctypes.get_errno(), "")


def probe(args):
    """Everything that the walls should stop, each with its result."""
    own = status()
    places = (
        "/",
        "/etc",
        "/usr/bin",
        "/opt/mcwbuild/code",
        "/in",
        "/proc/sys/kernel",
        "/sys",
        "/dev",
        "/var",
        "/out",
        "/tmp",
    )
    host, *ports = args.do[1:]
    return {
        "user": [os.getuid(), os.getgid(), os.getgroups()],
        "capabilities": [own[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "no_new_privileges": own["NoNewPrivs"],
        "seccomp": own["Seccomp"],
        "interfaces": [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]],
        "connections": {
            f"{place}:{port}": attempt(lambda place=place, port=port: connect(place, port))
            for place in ("127.0.0.1", host)
            for port in ports
        },
        "names": attempt(lambda: socket.getaddrinfo("localhost.invalid", 80)),
        "writes": {place: attempt(lambda place=place: Path(place, "probe.txt").write_text("x")) for place in places},
        "input_write": attempt(lambda: Path(args.pt).write_text("x")),
        "input_chmod": attempt(lambda: os.chmod(args.pt, 0o777)),
        "input_rename": attempt(lambda: os.rename(args.pt, args.pt + ".old")),
        "run_from_tmp": attempt(run_from_tmp),
        "mount": attempt(mount),
        "device": attempt(lambda: os.mknod("/out/device", stat.S_IFBLK | 0o666, os.makedev(8, 0))),
        "user_namespace": attempt(lambda: syscall(272, 0x10000000)),
        "kernel_keys": attempt(lambda: syscall(248, b"user", b"a", b"b", 1, -3)),
        "become_root": attempt(lambda: os.setuid(0)),
        "docker_socket": os.path.exists("/var/run/docker.sock") or os.path.exists("/run/docker.sock"),
        "memory": limit("memory.max", "memory/memory.limit_in_bytes"),
        "pids": limit("pids.max", "pids/pids.max"),
        "forks": forks(),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "core": resource.getrlimit(resource.RLIMIT_CORE)[1],
        "file_size": resource.getrlimit(resource.RLIMIT_FSIZE)[1],
        "environment": dict(os.environ),
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit())[:2],
    }


def run_from_tmp():
    """Write a program and run it."""
    program = Path("/tmp/program")
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    subprocess.run([str(program)], check=True)


def eat(where):
    """Take memory until somebody says stop: here, or in a child."""
    if where == "child":
        if os.fork() == 0:
            eat("main")
        os.wait()
        return
    taken = []
    while True:
        taken.append(bytearray(os.urandom(4096)) * 256)


def tree(out, kind):
    """An output folder that is a trap."""
    model = out / "best.onnx"
    deeds = {
        "link to a file": lambda: model.symlink_to("/etc/passwd"),
        "link to the host": lambda: model.symlink_to("/etc/shadow"),
        "link to nothing": lambda: model.symlink_to("/nowhere"),
        "link to itself": lambda: model.symlink_to("best.onnx"),
        "link to /proc": lambda: model.symlink_to("/proc/self/environ"),
        "relative link": lambda: model.symlink_to("../../../../../../../../etc/hostname"),
        "linked folder": lambda: (out / "more").symlink_to("/etc"),
        "hard links": lambda: (model.write_bytes(b"x"), os.link(model, out / "again")),
        "a pipe": lambda: os.mkfifo(model),
        "a socket": lambda: socket.socket(socket.AF_UNIX).bind(str(model)),
        "a folder": lambda: model.mkdir(),
        "setuid": lambda: (model.write_bytes(b"x"), model.chmod(0o4777), (out / "more").write_bytes(b"x")),
        "sparse": lambda: os.truncate(os.open(model, os.O_CREAT | os.O_RDWR), 8 << 30),
        "many files": lambda: [(out / f"{number}").touch() for number in range(20_000)],
        "deep": lambda: deep(out),
        "long name": lambda: (out / ("x" * 255)).touch(),
        "no text": lambda: Path(os.fsdecode(bytes(out) + b"/\xff\xfe")).touch(),
        "newline": lambda: (out / "a\n::error::b").touch(),
        "a flag": lambda: (out / "-rf").touch(),
        "trailing space": lambda: (out / "best.onnx ").touch(),
        "another case": lambda: (out / "BEST.onnx").touch(),
        "forbidden file": lambda: (model.write_bytes(b"x"), model.chmod(0)),
        "forbidden folder": lambda: ((out / "more").mkdir(), (out / "more" / "x").touch(), (out / "more").chmod(0)),
        "forbidden output": lambda: (model.write_bytes(b"x"), out.chmod(0)),
        "empty": model.touch,
        "no output": lambda: out.rmdir(),
        "output is a link": lambda: (out.rmdir(), out.symlink_to("/etc")),
        "output is a file": lambda: (out.rmdir(), out.write_bytes(b"x")),
        "a manifest that points outside": lambda: (out / "manifest.json").write_text('{"outputs": [{"file": "../x"}]}'),
        "outcome is a pipe": lambda: None,
    }
    deeds[kind]()


def deep(out):
    """Three thousand folders, one in the other."""
    os.chdir(out)
    for _ in range(3000):
        os.mkdir("d")
        os.chdir("d")


def main():
    """Does the one deed that `--do` names, and says that all is well."""
    parser = argparse.ArgumentParser()
    for flag in ("--pt", "--source", "--out", "--result", "--nonce", "--progress", "--threads", "--previous", "--data"):
        parser.add_argument(flag)
    parser.add_argument("--do", nargs="+", default=["done"])
    args = parser.parse_args()
    out, result, (deed, *rest) = Path(args.out), Path(args.result), args.do
    out.mkdir()
    code = 0
    if deed == "probe":
        (out / "probe.json").write_text(json.dumps(probe(args)))
    elif deed == "eat":
        eat(rest[0])
    elif deed == "tree":
        tree(out, rest[0])
    elif deed == "fill":
        found = attempt(lambda: (out / "best.onnx").write_bytes(b"x" * (64 << 20)))
        code = 0 if found == "done" else 4
    if rest[:1] == ["outcome is a pipe"]:
        os.mkfifo(result)
        return
    outcome = {
        "schema": "result/1",
        "nonce": args.nonce,
        "phase": "onnx",
        "status": "done",
        "code": code,
        "error": None,
    }
    try:
        result.write_text(json.dumps(outcome))
    except OSError:
        code = 4
    sys.exit(code)


main()
