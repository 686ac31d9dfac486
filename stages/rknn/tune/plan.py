"""What is tried next, from what has been tried. Pure: nothing is built, no clock is asked.

The plain build comes first, then builds that are INT8 throughout, then builds with a few layers in a finer type, ranked
by error per cost: first those that leave most of the work in INT8. mmse, which takes minutes, is last unless everything
is wanted. Once one passes, layers that were not needed are taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mcwbuild.contract.tuning import Effort
from stages.rknn.job import Algorithm, Finer, Method, Quantization
from stages.rknn.tune.trial import Trial

LEAST_SHARE = 0.8  # of the convolutions' cycles: with less in INT8, a build is called mixed
MMSE_IMAGES = 20  # Rockchip advises 20 to 50; each costs seconds
_LEAST_IMAGES = 10  # to calibrate with
_FAST_RUNGS = 4  # of layers that leave most of the work in INT8, in `fast`
_FAST_MIXED = 2  # of those that do not
_SURER_TRIES = 3  # in `fast`, after one that is likely to pass, for one that does
_BACK_TRIES = {"fast": 1, "full": 16}  # to find layers that were not needed
_FINER_COST = 2.0  # cycles of a layer in float16 or int16, as a multiple of those in INT8
_CYCLES_PER_KB = 55.0  # of the tables' memory traffic, for layers that have no cycles of their own
_NEARLY_ALL = 0.99999  # auto_hybrid's threshold for that, where the layers are not known
_THRESHOLDS: dict[Effort, tuple[float, ...]] = {"off": (), "fast": (0.999,), "full": (0.98, 0.999, 0.9999)}


@dataclass(frozen=True)
class Layer:
    """A layer that can be computed in a finer type: its tensors, its own error (1 - cosine), the compiler's cycles and
    traffic of the INT8 build, and the places of the layers that it reads.
    """

    tensors: tuple[str, ...]
    error: float
    cycles: int
    traffic_kb: int
    reads: tuple[int, ...]

    @property
    def cost(self) -> float:
        """What a finer type costs, in cycles."""
        return max(float(self.cycles), _CYCLES_PER_KB * self.traffic_kb, 1.0)


@dataclass(frozen=True)
class Question:
    """What the search is about: its effort, the plain build, the finer types that the target computes in; `mmse`:
    whether there is time for that.
    """

    effort: Effort
    plain: Quantization
    finer: tuple[Finer, ...] = ("float16",)
    mmse: bool = True


@dataclass(frozen=True)
class Step:
    """The next try, and why it is tried."""

    quantization: Quantization
    why: str


def following(asked: Question, tried: Sequence[Trial], layers: Sequence[Layer]) -> Step | None:
    """The next try; None where nothing is left to try, or nothing needs to be."""
    if not tried:
        return Step(asked.plain, "the plain build")
    if any(one.verdict == "passed" for one in tried):
        return _back(asked, tried, layers)
    if _hopeless(tried, layers):
        return None
    likely = next((place for place, one in enumerate(tried) if one.verdict == "likely"), None)
    if asked.effort == "fast" and likely is not None and len(tried) > likely + _SURER_TRIES:
        return None
    done = {one.quantization for one in tried}
    for step in _candidates(asked, tried, layers):
        # mmse's minutes are for a search that has found nothing yet.
        if step.quantization not in done and (likely is None or step.quantization.algorithm != "mmse"):
            return step
    return None


def _hopeless(tried: Sequence[Trial], layers: Sequence[Layer]) -> bool:
    """Whether a build failed that has every layer in float16: then no mixture with INT8 passes."""
    whole = [
        one for one in tried if layers and one.quantization.layers == _named(range(len(layers)), layers, "float16")
    ]
    return any(one.verdict in ("failed", "pruned") for one in whole)


def ended(tried: Sequence[Trial], layers: Sequence[Layer]) -> str:
    """Why there is nothing left to try, for people."""
    if _hopeless(tried, layers):
        return "Even with every layer in float16 it misses the gate: no mixture can pass."
    if any(one.verdict == "float16" for one in tried):
        return "It passes with nothing left in INT8, and with no mixture that was tried: FP16 is what it needs."
    return "Everything that this effort tries was tried."


def seconds_of_mmse(images: int, plain_seconds: float, plain_images: int) -> float:
    """About how long mmse takes to build: for each image 1.8 times what the plain build takes with 50.

    YOLOv8n at 320 took 6.7 s an image after 4.4 s, ResNet50 at 224 21 s after 11.7 s (two processors, 2.3.2).
    """
    return float(1.8 * images * plain_seconds * max(1.0, 50 / max(plain_images, 1)) ** 0.5)


def _candidates(asked: Question, tried: Sequence[Trial], layers: Sequence[Layer]) -> Iterator[Step]:
    """All that may be tried, in order."""
    fast = asked.effort == "fast"
    yield from _int8_throughout(asked)
    if not fast:
        yield from _by_mmse(asked)
    base = _base(asked, tried)
    rungs = [rung for finer in asked.finer[: 1 if fast else None] for rung in _rungs(base, layers, finer, fast)]
    most = [step for step, share in rungs if share >= LEAST_SHARE]
    mixed = [step for step, share in rungs if share < LEAST_SHARE]
    yield from most[: _FAST_RUNGS if fast else None]
    if "float16" in asked.finer:
        for cosine in _THRESHOLDS[asked.effort]:
            yield Step(replace(base, auto_hybrid=cosine), f"the toolkit's choice of layers, cosine below {cosine:g}")
    yield from mixed[: _FAST_MIXED if fast else None]
    if "float16" in asked.finer:
        whole = _named(range(len(layers)), layers, "float16")
        chosen = replace(base, layers=whole) if whole else replace(base, auto_hybrid=_NEARLY_ALL)
        yield Step(chosen, "every layer in float16: whether a mixture can pass")
    if fast:
        yield from _by_mmse(asked)


def _int8_throughout(asked: Question) -> Iterator[Step]:
    """Builds without a layer in a finer type: other ways to find ranges, other scales, other numbers of images."""
    plain = asked.plain
    algorithms: list[Algorithm] = ["normal", "kl_divergence"]
    methods: list[Method] = ["channel", "layer"] if asked.effort == "full" else ["channel"]
    counts = [plain.images, plain.images // 2] if asked.effort == "full" else [plain.images]
    for images in (count for count in counts if count >= _LEAST_IMAGES or count == plain.images):
        for method in methods:
            for algorithm in algorithms:
                made = Quantization(algorithm, method, images)
                yield Step(made, f"{algorithm} by {method} with {images} images: no layer costs more for it")


def _by_mmse(asked: Question) -> Iterator[Step]:
    if not asked.mmse:
        return
    images = min(asked.plain.images, MMSE_IMAGES)
    yield Step(Quantization("mmse", "channel", images), "mmse finds ranges by trying them: slow, INT8 throughout")


def _base(asked: Question, tried: Sequence[Trial]) -> Quantization:
    """The way to find ranges that came nearest to the float network, on top of which layers are made finer."""
    made = [
        one
        for one in tried
        if one.snr_db is not None
        and not one.quantization.layers
        and one.quantization.auto_hybrid is None
        and one.quantization.algorithm != "mmse"
    ]
    best = max(made, key=lambda one: one.snr_db or 0.0, default=None)
    return best.quantization if best else asked.plain


def ranking(layers: Sequence[Layer]) -> list[int]:
    """The places of the layers that have an error, most error per cost first; of equals, the cheaper one."""
    worth = [place for place, layer in enumerate(layers) if layer.error > 0]
    return sorted(worth, key=lambda place: (-layers[place].error / layers[place].cost, layers[place].cost, place))


def _rungs(base: Quantization, layers: Sequence[Layer], finer: Finer, fast: bool) -> Iterator[tuple[Step, float]]:
    """The first layers of the ranking, more of them each time, with the layers that they read.

    What a layer reads was rounded to INT8 before it: where its input's range is the trouble, it alone does not help.
    Where its own weights are, it does, and is cheaper: that is tried with the first one (in `full` with all numbers).
    Each rung comes with the share of cycles that would stay in INT8.
    """
    ranked = ranking(layers)
    count = 1
    while count <= len(ranked):
        alone = set(ranked[:count])
        fed = alone | {place for one in alone for place in layers[one].reads}
        kinds = [(alone, "")] if fed == alone else [(alone, ""), (fed, " and what they read")]
        for chosen, said in kinds[-1:] if fast and count > 1 else kinds:
            why = f"the {count} layers with most error per cost{said}, in {finer}"
            yield Step(replace(base, layers=_named(chosen, layers, finer)), why), share_left(chosen, layers)
        count = _next(count, len(ranked), 3 if fast else 2)


def _next(count: int, whole: int, factor: int) -> int:
    """The number after `count`; three quarters of the whole come before the end."""
    most = whole * 3 // 4
    return most if count < most < count * factor else count * factor


def share_left(chosen: set[int], layers: Sequence[Layer]) -> float:
    """About the share of the cycles, 0..1, that is left in INT8 where `chosen` are computed in a finer type."""
    whole = sum(layer.cycles for layer in layers)
    moved = sum(layers[place].cycles for place in chosen)
    left = whole - moved + _FINER_COST * moved
    return (whole - moved) / left if left else 1.0


def _named(chosen: Iterable[int], layers: Sequence[Layer], finer: Finer) -> tuple[tuple[str, Finer], ...]:
    return tuple((tensor, finer) for place in sorted(chosen) for tensor in layers[place].tensors)


def _back(asked: Question, tried: Sequence[Trial], layers: Sequence[Layer]) -> Step | None:
    """Take a layer out of the plan that passed, the costliest first, unless that plan is known to fail."""
    first = next(place for place, one in enumerate(tried) if one.verdict == "passed")
    passed = [one for one in tried if one.verdict == "passed" and one.quantization.layers]
    if not passed or len(tried) - 1 - first >= _BACK_TRIES[asked.effort]:
        return None
    base = min(passed, key=lambda one: len(one.quantization.layers)).quantization
    known = [frozenset(one.quantization.layers) for one in tried if one.verdict != "passed"]
    inside = [layer for layer in layers if any(name in layer.tensors for name, _ in base.layers)]
    for layer in sorted(inside, key=lambda one: -one.cost):
        rest = tuple(pair for pair in base.layers if pair[0] not in layer.tensors)
        # A plan with fewer layers than one that failed fails too.
        if rest and not any(frozenset(rest) <= failed for failed in known):
            return Step(replace(base, layers=rest), f"without {layer.tensors[-1]}: whether it is needed")
    return None
