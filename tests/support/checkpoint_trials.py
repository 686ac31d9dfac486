"""Damaged and hostile checkpoints read as the stages read them: plain data or a typed refusal, and nothing done."""

from __future__ import annotations

import pickletools
import random
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mcwbuild.contract.errors import InputError, Refused
from stages.common.checkpoint import read
from stages.common.checkpoint_zip import open_archive
from tests.campaign.series import Made
from tests.support import checkpoint_files as files
from tests.support.checkpoint_files import Raw, archive, call, checkpoint, code, instance, named, placed, storage
from tests.support.mutants import damaged_bytes
from tests.support.watched import Hang, limited, watched

SECONDS = 5.0  # of processor time for one file; the slowest takes a hundredth
_OPENED = re.compile(r"open \([0-9]+,\)")  # a file object made of a descriptor
FRAGMENTS = (  # each leaves one value where a real unpickler would have run something, or made it large
    *(call(*files.CANARY, "x"), call("os", "system", "id"), call("builtins", "eval", "1"), named("posix", "system")),
    *(call("torch.hub", "load", "a/b"), call("builtins", "getattr", named("os", "system"), "__call__")),
    *(instance("subprocess", "Popen", {"args": "id"}), instance("ultralytics.nn.tasks", "DetectionModel", {"yaml": 1})),
    *(storage("../../etc/passwd", 4), storage("0", 2**31 - 1), Raw(code(("module", "x")) + b"Q")),
    *(Raw(b"\x8e" + b"\xff" * 8), Raw(b"\x8c\xff"), Raw(b"K\x012"), Raw(b"]" * 2000), Raw(b"(" * 50)),
    *(
        Raw(b"\x82\x09"),
        Raw(b"h\x00"),
        Raw(b"r\xff\xff\xff\x7f"),
        Raw(b"\x93"),
        Raw(b"\x81"),
        Raw(b"b"),
        Raw(b"R"),
        Raw(b"0"),
        Raw(b"."),
    ),
    *(
        Raw(b"I" + b"9" * 5000 + b"\n"),
        Raw(b"i" + b"os\nsystem\n"),
        Raw(b"(" + b"cos\nsystem\n" + b"X\x02\x00\x00\x00ido"),
    ),
)


def spliced(rng: random.Random, pickled: bytes, places: Sequence[int]) -> bytes:
    """The pickle with one to three fragments between its own opcodes, some in the place of one."""
    cut = bytearray(pickled)
    for at in sorted(rng.sample(range(1, len(places)), rng.randint(1, 3)), reverse=True):
        end = places[at] if rng.random() < 0.5 or at + 1 == len(places) else places[at + 1]
        cut[places[at] : end] = rng.choice(FRAGMENTS)
    return bytes(cut)


def outcome(path: Path) -> str:
    """What became of the file. Raises whatever is neither plain data nor one of the two errors."""
    try:
        read(path)
        return "read"
    except (InputError, Refused) as error:
        return type(error).__name__ if error.what and error.found else "without a sentence"


def run(numbers: Sequence[int], seed: str) -> Made:
    """The trials of these numbers: bytes of the file, bytes of the pickle, opcodes of the pickle, in turn."""
    made = Made()
    whole = checkpoint()
    opened = open_archive(whole, "best.pt")
    pickled = bytes(opened.records["data.pkl"])
    places = [place for _, _, place in pickletools.genops(pickled) if place is not None]
    others = {name: bytes(data) for name, data in opened.records.items() if name.startswith("data/")}
    with tempfile.TemporaryDirectory(prefix="mcw-checkpoints-") as text:
        folder = Path(text)
        outcome(placed(folder, whole))  # warm: what is loaded at first use is no finding
        for number in numbers:
            rng = random.Random(f"{seed}-{number}")
            make = (
                lambda rng: damaged_bytes(rng, whole),
                lambda rng: archive(damaged_bytes(rng, pickled), others),
                lambda rng: archive(spliced(rng, pickled, places), others),
            )[number % 3]
            path = placed(folder, make(rng))
            files.RUNG.clear()
            try:
                with watched() as events, limited(SECONDS):
                    made.outcomes[outcome(path)] += 1
                strange = [one for one in events if str(path) not in one and not _OPENED.fullmatch(one)]
                wrong = [*strange, *(["it was executed"] if files.RUNG else [])]
            except (Exception, Hang) as error:
                made.outcomes["violation"] += 1
                wrong = [f"{type(error).__name__}: {error!s:.300}"]
            made.violations += [f"seed {seed}, number {number}: {one}" for one in wrong]
    return made
