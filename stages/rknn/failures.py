"""From what the toolkit did to one typed error: what failed, why, in which layer, and what to try."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

from mcwbuild.contract.errors import EnvironmentLacking, McwbuildError, StageFailed
from mcwbuild.contract.failures import layer_in, recognise
from mcwbuild.contract.marks import shown
from stages.rknn.compiler_log import CompilerLog, Unsupported
from stages.rknn.targets import Variant

_REPORT = "Look into the phase's log for the compiler's last lines, and try another --optimization-level."
_UNKNOWN = f"mcwbuild does not know this failure. {_REPORT}"
_MEMORY = "Give the machine or the container more memory, or fewer --calibration-images."
_OF_THE_MACHINE = ("toolkit-missing", "toolkit-setuptools", "toolkit-exit", "toolkit-onnx", "disk-full")


class RuleFailed(StageFailed):
    """A build that one of the toolkit's own fusion rules ended: `rule` may be turned off."""

    def __init__(self, rule: str, what: str, found: str, remedy: str) -> None:
        super().__init__(what, found, remedy, kind="fusion-rule")
        self.rule = rule

    def as_dict(self) -> dict[str, Any]:
        """As any failure of a stage."""
        return {**super().as_dict(), "error": StageFailed.__name__}


def refused(variant: Variant, step: str, cause: str, log: CompilerLog) -> McwbuildError:
    """The error for a call that returned -1 or None, or raised."""
    meant = _meaning(cause, log)
    what = f"The {variant} build failed in {step}."
    if log.rules:
        rule = log.rules[-1]
        found = f"Its fusion rule {rule} fails on this graph. {_found(meant)}"
        return RuleFailed(rule, what, found, "Simplify the ONNX first, or try a lower --optimization-level.")
    known = recognise([cause]) or recognise(log.errors)
    if known is None:
        return StageFailed(what, _found(meant), _UNKNOWN, kind="toolkit")
    if known.name in _OF_THE_MACHINE:
        found = f"{clean(meant)}. {known.cause}"
        return EnvironmentLacking(f"RKNN-Toolkit2 could not do its {step}.", found, known.remedy, kind=known.name)
    said = cause if known.pattern.search(cause) else next(filter(known.pattern.search, log.errors), meant)
    return StageFailed(what, f"{_found(said)} {known.cause}", known.remedy, kind=known.name)


def killed(variant: Variant, step: str, number: int, peak_kb: int, log: CompilerLog) -> StageFailed:
    """The error for a process that a signal ended: the compiler's own abort, or the kernel's."""
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number == signal.SIGKILL:
        found = f"The kernel killed the toolkit in {step}, at {peak_kb / 1e6:.1f} GB: memory ran out."
        return StageFailed(f"The {variant} build ran out of memory.", found, _MEMORY, kind="out-of-memory")
    known = recognise([*log.errors, name])
    said = next(filter(known.pattern.search, log.errors), "") if known else "".join(log.errors[-1:])
    found = f"The toolkit's compiler ended the process in {step} ({name})."
    found += f" {_found(said)}" if said else " It printed no reason."
    kind, remedy = (known.name, known.remedy) if known else ("compiler", _UNKNOWN)
    return StageFailed(f"The {variant} build crashed.", f"{found} {known.cause}" if known else found, remedy, kind=kind)


def vanished(variant: Variant, step: str, code: int, log: CompilerLog) -> StageFailed:
    """The error for a process that left without an answer."""
    cause = _found(log.errors[-1]) if log.errors else "It printed no reason."
    found = f"The toolkit's process left with code {code} in {step}. {cause}"
    return StageFailed(f"The {variant} build ended without a result.", found, _REPORT, kind="toolkit")


def hung(variant: Variant, step: str, seconds: float) -> StageFailed:
    """The error for a process that neither worked nor spoke."""
    return StageFailed(
        f"The {variant} build hung.",
        f"The toolkit gave no sign of life for {seconds:.0f} s in {step}, and was ended.",
        "Run it again; if it hangs again, try --algorithm normal or another --optimization-level.",
        kind="hang",
    )


def unsupported(variant: Variant, found: tuple[Unsupported, ...], platform: str) -> StageFailed:
    """The error for a build that reports success and that no board can run."""
    layers = ", ".join(f"{item.op} (layer {shown(item.layer)})" if item.layer else item.op for item in found)
    return StageFailed(
        f"The {variant} build cannot run on {platform}, although the toolkit reports success.",
        f"Its compiler's log says that these operators have no implementation there: {layers}.",
        "Replace these operators in the model, or cut the graph in front of them.",
        kind="operator-simulated",
    )


def doubts(variant: Variant, log: CompilerLog, disabled_rules: Sequence[str]) -> list[tuple[str, str, str]]:
    """What is worth knowing of a build that succeeded: what, cause, remedy."""
    found = [
        (f"The toolkit's fusion rule {rule} fails on this graph", "A fault of the toolkit",
         f"The {variant} model was built without it; nothing has to be done")
        for rule in disabled_rules
    ]  # fmt: skip
    entry = recognise(log.errors, "warns")
    if entry is not None:
        found.append((f"The compiler's log of the {variant} build shows {entry.name}", entry.cause, entry.remedy))
    return found


def clean(text: str, limit: int = 400) -> str:
    """The toolkit's text on one line, ASCII, shortened, without its closing mark."""
    line = " ".join(text.split())
    return ascii(line if len(line) <= limit else line[:limit] + " ...")[1:-1].rstrip("!. ")


def _meaning(cause: str, log: CompilerLog) -> str:
    """`returned -1` says nothing; the reason then stands in the log's last error line."""
    reasons = [error for error in log.errors if "Traceback" not in error]
    return reasons[0] if " returned " in cause and reasons else cause


def _found(cause: str) -> str:
    """The cause as a sentence, with the layer where the toolkit names one."""
    layer = layer_in(cause)
    return f"The toolkit says: {clean(cause)}." + (f" Layer: {layer}." if layer else "")
