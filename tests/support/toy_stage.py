"""A stage with the flags of a real one and the deeds that engines must survive; standard library only."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FAMILY = (
    "import os, signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "os.setsid()\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', sys.argv[1]])\n"
    "open(sys.argv[1] + '/born', 'w').close()\n"
    "time.sleep(60)\n"
)


def event(kind, **data):
    """One line on the wall."""
    print(json.dumps({"event": kind, **data}), flush=True)


def family(staging):
    """A child in a session of its own that ignores SIGTERM, and a grandchild."""
    subprocess.Popen([sys.executable, "-c", FAMILY, str(staging)])
    while not (staging / "born").exists():
        time.sleep(0.01)


def main():
    """Does the one deed that `--do` names."""
    parser = argparse.ArgumentParser()
    for flag in ("--pt", "--source", "--out", "--result", "--nonce", "--progress", "--threads", "--resume"):
        parser.add_argument(flag)
    parser.add_argument("--do", nargs="+", default=["done"])
    args = parser.parse_args()
    out, (deed, *rest) = Path(args.out), args.do
    event("started", name="work", detail=deed)
    print("a library's noise")
    print("more of it", file=sys.stderr)
    if deed == "train":  # for ever, unless it goes on with what another one left
        if args.resume:
            event("noted", text=f"goes on with {Path(args.resume).read_text()}", level="info")
            deed = "done"
        else:
            (out.parent / "training").mkdir()
            (out.parent / "training" / "state.pt").write_text(f"what {rest[0]} left")
            event("noted", text="trains", level="info")
            time.sleep(60)
    if deed == "wait":  # then done, and a line in a ledger
        time.sleep(float(rest[0]))
        with open(rest[1], "a") as ledger:
            ledger.write(f"{args.nonce}\n")
        deed = "done"
    if deed == "name":  # the input, as an error and a remark would
        event("noted", text=f"{args.pt}:1:2 is odd", level="info")
        Path(args.result).write_text(json.dumps({"nonce": args.nonce, "found": f"{args.pt}:1:2"}))
    elif deed == "done":
        event("progressed", name="work", done=1, total=2)
        out.mkdir()
        seen = {"environment": dict(os.environ), "path": sys.path, "modules": sorted(sys.modules)}
        (out / "seen.json").write_text(json.dumps(seen))
        Path(args.result).write_text(json.dumps({"nonce": args.nonce, "argv": sys.argv, "cwd": str(Path.cwd())}))
        event("finished", name="work", seconds=0.1, detail="")
    elif deed == "exit":
        sys.exit(int(rest[0]))
    elif deed == "signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif deed == "sleep":
        family(out.parent)
        event("noted", text="family", level="info")
        time.sleep(60)
    elif deed == "abandon":
        family(out.parent)
    elif deed == "flood":
        for number in range(int(rest[0])):
            sys.stderr.write(f"{number:099}\n")
        sys.stdout.write("x" * 2_500_000 + "\nthe last word")


main()
