"""The same images as each model saw them: what was lost, what is extra, what moved, drawn over one small picture."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mcwbuild.contract.results import Changes, Found, Item, Items, Picture, Results, changes

MODELS = ("pt", "onnx", "fp16", "int8")
NAMES = {"pt": "PT", "onnx": "ONNX", "fp16": "FP16", "int8": "INT8"}
_SHOWN = 320.0  # a picture's longer side in its own units: strokes are of the same width in every picture
_SAID = 6  # changes of one model that are told in words; the rest is counted
Kept = Mapping[str, Found]


@dataclass(frozen=True)
class Panel:
    """What one model found in one image: its drawing, and its changes in words."""

    model: str
    svg: Markup
    words: str
    changed: bool


@dataclass(frozen=True)
class Shown:
    """One image: its panels, model after model, and how it is labelled."""

    number: int
    name: str
    href: str
    width: float
    height: float
    truth: str
    panels: tuple[Panel, ...]
    counts: Mapping[str, Mapping[str, int]]


def together(kept: Sequence[Results]) -> Kept:
    """What all models found, from the packages of one run; those of other images than the last are left out."""
    order = kept[-1].order if kept else ""
    return {name: one for results in kept if results.order == order for name, one in results.models.items()}


def counted(found: Kept) -> dict[str, dict[str, int]]:
    """How many objects of the first model each other one lost, has extra, and moved, over all images that were kept."""
    models = [name for name in MODELS if name in found]
    totals: dict[str, dict[str, int]] = {}
    for name in models[1:]:
        both = [place for place in found[models[0]].images if place in found[name].images]
        each = [changes(found[models[0]].images[place], found[name].images[place]) for place in both]
        totals[name] = _counts(each)
    return totals


def _counts(each: Sequence[Changes]) -> dict[str, int]:
    return {
        "lost": sum(len(one.lost) for one in each),
        "extra": sum(len(one.extra) for one in each),
        "moved": sum(len(one.moved) for one in each),
        "kept": sum(len(one.kept) for one in each),
        "images": len(each),
    }


@dataclass(frozen=True)
class _Pen:
    """How one picture is drawn on: from its pixels to units, and whether points are an outline, or joints."""

    unit: float
    names: Sequence[str]
    outlined: bool


def shown(pictures: Sequence[Picture], found: Kept, names: Sequence[str], task: str) -> list[Shown]:
    """Every picture with what each model found in it."""
    return [_shown(number, one, found, names, task != "pose") for number, one in enumerate(pictures)]


def _shown(number: int, picture: Picture, found: Kept, names: Sequence[str], outlined: bool) -> Shown:
    models = [name for name in MODELS if picture.place in found.get(name, Found({})).images]
    first = found[models[0]].images[picture.place] if models else ()
    pen = _Pen(_SHOWN / max(picture.width, picture.height), names, outlined)
    panels, counts = [], {}
    for name in models:
        mine = found[name].images[picture.place]
        if name == models[0]:
            told = Changes(kept=tuple((place, place) for place in range(len(mine))))
        else:
            told = changes(first, mine)
            counts[name] = {key: value for key, value in _counts([told]).items() if key != "images"}
        words = _words(told, first, mine, names, is_first=name == models[0])
        panels.append(Panel(NAMES[name], _drawn(number, picture, pen, told, first, mine), words, bool(told.weight)))
    truth = ", ".join(_label(item, names) for item in picture.truth[:_SAID])
    more = len(picture.truth) - _SAID
    return Shown(
        number,
        picture.name,
        data_uri(picture),
        picture.width * pen.unit,
        picture.height * pen.unit,
        truth + (f" and {more} more" if more > 0 else ""),
        tuple(panels),
        counts,
    )


def data_uri(picture: Picture) -> str:
    """The picture's JPEG as an address."""
    return "data:image/jpeg;base64," + base64.b64encode(picture.jpeg).decode("ascii")


def _label(item: Item, names: Sequence[str]) -> str:
    if item.text is not None:
        name = f"\u201c{item.text}\u201d" if item.text else "no text"
    else:
        name = names[item.label] if 0 <= item.label < len(names) else f"class {item.label}"
    return name if item.score is None else f"{name} {item.score:.2f}"


def _words(told: Changes, before: Items, after: Items, names: Sequence[str], *, is_first: bool) -> str:
    if not any(item.box for item in (*before, *after)):
        said = _label(after[0], names) if after else "nothing"
        return said if is_first or not told.weight else f"changed: {said}"
    if is_first:
        return f"{len(after)} found"
    groups = (
        ("lost", [before[i] for i in told.lost]),
        ("extra", [after[j] for j in told.extra]),
        ("moved", [after[j] for _, j in told.moved]),
    )
    parts = []
    for word, items in groups:
        if items:
            listed = ", ".join(_label(item, names) for item in items[:_SAID])
            parts.append(f"{len(items)} {word}: {listed}" + (", ..." if len(items) > _SAID else ""))
    return "; ".join(parts) or f"the same {len(after)}"


def _drawn(number: int, picture: Picture, pen: _Pen, told: Changes, before: Items, after: Items) -> Markup:
    parts = [_shape("same", after[j], pen) for _, j in told.kept]
    for i, j in told.moved:
        parts += [_shape("was", before[i], pen), _shape("moved", after[j], pen)]
    parts += [_shape("lost", before[i], pen) for i in told.lost]
    parts += [_shape("extra", after[j], pen) for j in told.extra]
    return Markup('<svg viewBox="0 0 {:.0f} {:.0f}" aria-hidden="true"><use href="#picture-{}"/>{}</svg>').format(
        picture.width * pen.unit, picture.height * pen.unit, number, Markup("").join(parts)
    )


def _shape(kind: str, item: Item, pen: _Pen) -> Markup:
    """An outline or corners, or else a box with its joints; nothing where there is no place in the image."""
    if item.box is None:
        return Markup("")
    title = f"{kind}: {_label(item, pen.names)}"
    points = [(x * pen.unit, y * pen.unit) for x, y in item.points]
    if pen.outlined and len(points) > 2:
        outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        return _twice("polygon", Markup('points="{}"').format(outline), kind, title)
    x1, y1, x2, y2 = (value * pen.unit for value in item.box)
    form = Markup('x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"')
    joints = [Markup('<circle class="joint {}" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(kind, *at) for at in points]
    return _twice("rect", form.format(x1, y1, max(x2 - x1, 1), max(y2 - y1, 1)), kind, title) + Markup("").join(joints)


def _twice(tag: str, form: Markup, kind: str, title: str) -> Markup:
    """A dark line below the coloured one: it is seen on any picture."""
    below = Markup('<{} class="halo" {}/>').format(Markup(tag), form)
    return below + Markup('<{} class="mark {}" {}><title>{}</title></{}>').format(
        Markup(tag), kind, form, title, Markup(tag)
    )
