"""A stage that takes its package from a folder that was made before, slowly; standard library only.

`--model-code` names a folder with one finished package of each phase.
"""

import argparse
import json
import time
from pathlib import Path

PAUSE = 0.02  # seconds after each file, so that a kill may come between two


def main():
    """Copies, and says that it is done."""
    parser = argparse.ArgumentParser()
    for flag in ("--pt", "--model-code", "--out", "--result", "--nonce", "--progress", "--threads"):
        parser.add_argument(flag)
    args = parser.parse_args()
    phase = Path(__file__).parent.name
    out = Path(args.out)
    out.mkdir()
    print(json.dumps({"event": "started", "name": "copy", "detail": ""}), flush=True)
    for path in sorted((Path(args.model_code) / f"{phase}_package").iterdir()):
        (out / path.name).write_bytes(path.read_bytes())
        time.sleep(PAUSE)
    outcome = {"schema": "result/1", "nonce": args.nonce, "phase": phase, "status": "done", "code": 0}
    Path(args.result).write_text(json.dumps({**outcome, "error": None, "files": []}))


main()
