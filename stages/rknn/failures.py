"""From what the toolkit did to one typed error: what failed, why, in which layer, and what to try."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

from mcwbuild.contract.errors import EnvironmentLacking, McwbuildError, StageFailed
from mcwbuild.contract.marks import shown
from stages.rknn.compiler_log import CompilerLog, Unsupported
from stages.rknn.targets import Variant

_REPORT = "Look into the phase's log for the compiler's last lines, and try another --optimization-level."
_MEMORY = "Give the machine or the container more memory, or fewer --calibration-images."
_LAYER = re.compile(
    r"""In Node, \("(?P<node>[^"]*)", (?P<op>\w+)|node type\s*=\s*(?P<kind>\w+)|input tensor name: (?P<tensor>\S+)"""
)


@dataclass(frozen=True)
class _Known:
    """A cause that was met before: how it reads, its kind, what to do about it."""

    pattern: re.Pattern[str]
    kind: str
    remedy: str


def _known(pattern: str, kind: str, remedy: str) -> _Known:
    return _Known(re.compile(pattern), kind, remedy)


_CAUSES = (
    _known(r"No module named|cannot import name|No such file or directory: .*site-packages", "toolkit-missing",
           "Run this phase in its own image or environment."),
    _known(r"No space left on device", "disk-full", "Free some space where temporary files go (TMPDIR)."),
    _known(r"MemoryError|std::bad_alloc|Unable to allocate|Cannot allocate memory", "out-of-memory", _MEMORY),
    _known(r"Unsupport onnx opset", "opset", "Export again with --opset 19 or lower."),
    _known(r"No Op registered for|is not a registered function/op|No opset import for domain|INVALID_GRAPH", "operator",
           "The toolkit does not know this operator: change that part of the model, or cut it off."),
    _known(r"dynamic graph", "dynamic-shape",
           "Remove NonMaxSuppression, NonZero and If from the graph: cut the model in front of them."),
    _known(r"The input shape .* is not support|is not support!", "shape", "Export again with fixed input sizes."),
    _known(r"not support do_quantization = False", "target", "Use --dtype int8 for this chip."),
    _known(r"disable_rules=\['(\w+)'\]", "optimizer", "Try a lower --optimization-level, or simplify the ONNX first."),
    _known(r"Can not find tensor value info|mmse", "algorithm", "Try --algorithm normal or kl_divergence."),
    _known(r"buffer overflow", "compiler", "Try --dtype fp16, or another --optimization-level."),
    _known(r"Not Support Dtype", "dtype", "Export the model with a float32 input."),
    _known(r"Meet unsupported conv", "target", "This chip cannot run that convolution: use the other --dtype."),
    _known(r"out of the float16", "overflow", "Use --dtype int8, or scale the values in that layer."),
)  # fmt: skip


def refused(variant: Variant, step: str, cause: str, log: CompilerLog) -> McwbuildError:
    """The error for a call that returned -1 or None, or raised."""
    meant = _meaning(cause, log)
    known = _recognise(meant)
    if known is not None and known.kind in ("toolkit-missing", "disk-full"):
        return EnvironmentLacking(
            f"RKNN-Toolkit2 could not start its {step}.", f"{clean(meant)}.", known.remedy, kind=known.kind
        )
    kind, remedy = (known.kind, known.remedy) if known else ("toolkit", _REPORT)
    return StageFailed(f"The {variant} build failed in {step}.", _found(meant), remedy, kind=kind)


def killed(variant: Variant, step: str, number: int, peak_kb: int, log: CompilerLog) -> StageFailed:
    """The error for a process that a signal ended: the compiler's own abort, or the kernel's."""
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    if number == signal.SIGKILL:
        found = f"The kernel killed the toolkit in {step}, at {peak_kb / 1e6:.1f} GB: memory ran out."
        return StageFailed(f"The {variant} build ran out of memory.", found, _MEMORY, kind="out-of-memory")
    cause = log.errors[-1] if log.errors else "It printed no reason."
    known = _recognise("\n".join(log.errors))
    found = f"The toolkit's compiler ended the process in {step} ({name}). {_found(cause)}"
    kind, remedy = (known.kind, known.remedy) if known else ("compiler", _REPORT)
    return StageFailed(f"The {variant} build crashed.", found, remedy, kind=kind)


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
        kind="operator",
    )


def clean(text: str, limit: int = 400) -> str:
    """The toolkit's text on one line, ASCII, shortened, without its closing mark."""
    line = " ".join(text.split())
    return ascii(line if len(line) <= limit else line[:limit] + " ...")[1:-1].rstrip("!. ")


def _meaning(cause: str, log: CompilerLog) -> str:
    """`returned -1` says nothing; the reason then stands in the log's last error line."""
    reasons = [error for error in log.errors if "Traceback" not in error]
    return reasons[0] if " returned " in cause and reasons else cause


def _recognise(text: str) -> _Known | None:
    return next((known for known in _CAUSES if known.pattern.search(text)), None)


def _found(cause: str) -> str:
    """The cause as a sentence, with the layer where the toolkit names one."""
    match = _LAYER.search(cause)
    sentence = f"The toolkit says: {clean(cause)}."
    if match is None:
        return sentence
    node, op = match["node"] or match["tensor"], match["op"] or match["kind"]
    layer = " ".join(part for part in (op, shown(node) if node else "") if part)
    return f"{sentence} Layer: {layer}."
