"""One finished try of the search, as data: what was built, what came of it, why it was tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mcwbuild.contract import performance
from mcwbuild.contract.limits import COSINE, COSINE_DROPS, Limit
from mcwbuild.contract.performance import Gate
from stages.rknn import outcome as outcomes
from stages.rknn.compiler_log import CompilerLog
from stages.rknn.job import Quantization
from stages.rknn.outcome import Outcome
from stages.rknn.tune import proxy

# likely: the drop is within the limit, and the images are too few to be sure; float16: it would pass, with nothing left
# in INT8; pruned: the proxy says that measuring the accuracy is not worth it; broken: the toolkit could not build it.
_LEAST_GAIN = 0.1  # dB: with less than that more, a build is no better than another
Verdict = Literal["passed", "likely", "float16", "failed", "pruned", "broken"]


@dataclass(frozen=True)
class Trial:
    """A try. `snr_db`, the proxy, is the outputs' signal-to-noise ratio beside ONNX Runtime on a few images.

    `accuracy` is the gated metric and `drop` how far it lies below the reference's, `limit` how far it may, both in
    the gate's unit; `cycles` are
    those of the compiler's table, `int8_share` (0..1) the share of them that INT8 layers take. None where unmeasured.
    """

    name: str
    why: str
    quantization: Quantization
    verdict: Verdict
    reason: str
    seconds: float
    build_seconds: float | None = None
    peak_memory_mb: int | None = None
    snr_db: float | None = None
    metric: str | None = None
    accuracy: float | None = None
    drop: float | None = None
    limit: float | None = None
    interval: tuple[float, float] | None = None
    size: int | None = None
    cycles: int | None = None
    int8_share: float | None = None
    disabled_rules: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Trial:
        """From the plain data that `asdict` gives. Raises TypeError, LookupError, ValueError for other data."""
        interval = data["interval"]
        changed = {
            "quantization": Quantization.of(data["quantization"]),
            "disabled_rules": tuple(data["disabled_rules"]),
            "interval": None if interval is None else (float(interval[0]), float(interval[1])),
        }
        return cls(**{**data, **changed})

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def judged(name: str, why: str, outcome: Outcome, seconds: float) -> Trial:
    """The try that ended in `outcome`."""
    measured, log = outcome.built.measured, outcome.built.log
    chosen = outcome.quantization
    assert chosen is not None
    gate = _deciding(outcome)
    verdict, reason = _verdict(outcome, gate)
    return Trial(
        name=name,
        why=why,
        quantization=chosen,
        verdict=verdict,
        reason=reason,
        seconds=round(seconds, 1),
        build_seconds=measured.seconds.get("build") or measured.seconds.get("hybrid_quantization_step2"),
        peak_memory_mb=round(measured.peak_kb / 1024),
        snr_db=proxy.snr_db(measured.comparison["outputs"]),
        metric=gate.metric,
        accuracy=gate.current,
        drop=gate.drop_percent if gate.limit_absolute is None else gate.drop_absolute,
        limit=gate.limit_percent if gate.limit_absolute is None else gate.limit_absolute,
        interval=gate.interval,
        size=outcome.artefact.size,
        cycles=log.cycles,
        int8_share=int8_share(log),
        disabled_rules=tuple(outcome.built.disabled_rules),
    )


def bar(tried: Sequence[Trial]) -> float | None:
    """The proxy in dB that a build has to reach to have its accuracy measured; None where every build's is.

    A drop of D where L is allowed needs noise that is D/L times as weak, if the drop goes with the noise; half of that
    (in dB) is asked for. Of those that failed, the one that asks for least counts: one with less noise and a larger
    drop shows how little the proxy knows of accuracy.
    """
    bars = []
    for one in tried:
        if one.verdict in ("failed", "likely") and one.snr_db is not None:
            far = one.drop / one.limit if one.drop and one.limit else 1.0
            bars.append(one.snr_db + max(_LEAST_GAIN, 5 * math.log10(max(far, 1.0))))
    return round(min(bars), 2) if bars else None


def int8_share(log: CompilerLog) -> float | None:
    """The share of the convolutions' cycles that INT8 layers take, 0..1; None where the table has no cycles."""
    if not log.cycles:
        return None
    return round(sum(layer.cycles for layer in log.layers if layer.dtype == "INT8") / log.cycles, 4)


def _deciding(outcome: Outcome) -> Gate:
    """The gate that says most: the one that failed, else the first that was measured, else the outputs' cosine."""
    measured = [gate for gate in outcome.gates if gate.status != "unmeasured"]
    return next((gate for gate in measured if _beyond(gate)), measured[0] if measured else _by_cosine(outcome))


def _beyond(gate: Gate) -> bool:
    """Whether the drop itself is beyond the limit, whatever the interval says."""
    if gate.status in ("failed", "unmeasured"):
        return gate.status == "failed"
    drop, limit = (
        (gate.drop_percent, gate.limit_percent)
        if gate.limit_absolute is None
        else (gate.drop_absolute, gate.limit_absolute)
    )
    return drop is not None and limit is not None and drop > limit


def _by_cosine(outcome: Outcome) -> Gate:
    """A stand-in where nothing can be measured by labels: the mean of the outputs' cosines with ONNX Runtime's.

    Not the worst output's: the scores of a scale that holds no object have next to no direction.
    """
    allowed = Limit(COSINE_DROPS["int8"], relative=True)
    current = proxy.cosine(outcome.built.measured.comparison["outputs"])
    return performance.gate(COSINE, "onnx", 1.0, current, allowed, variant="int8")


def _verdict(outcome: Outcome, gate: Gate) -> tuple[Verdict, str]:
    measured = outcome.built.measured
    if measured.pruned:
        return "pruned", measured.pruned
    failed = [check for check in outcomes.checks(outcome) if check.status == "failed"]
    if failed:
        return "failed", failed[0].detail
    if _beyond(gate):
        return "failed", gate.reason
    if int8_share(outcome.built.log) == 0:
        return "float16", gate.reason
    return ("likely" if gate.status == "undecided" else "passed"), gate.reason
