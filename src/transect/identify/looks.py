"""Networks that are not trained: which of them, at which sizes of input, a time has room for."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from transect.identify.embedding import BATCH, embed_with
from transect.identify.photos import Photos
from transect.identify.training import build_recogniser, embedding_of, inputs_of
from transect.models.weights import LITE0, LITE2
from transect.recipe import Augment, Embedding, Geometry, Member

__all__ = ["first_look", "frozen_looks", "geometry_of", "seconds_per_photo", "usual_side"]

# A first look, then what was better on real flanks (docs/experiments.md): a larger input, and a
# larger network at the largest input that there is time for.
_SMALLEST = {"cpu": 128.0, "gpu": 256.0}
_LARGER = ((LITE0, (224,)), (LITE2, (448, 320, 224, 192, 160)))
_ENLARGED = 2.0  # drawings of 105 px are told apart better at 192 px than at 96
_VIEWS = 2  # of a photo, one of them random, whose mean stands for it; more gained nothing there
_MOST_VIEWS = 9  # of the first look, where time is left


def first_look(photos: Photos, augment: Augment, device: str) -> Member:
    """The smallest network at the smallest input: what is asked in any case."""
    side = min(_SMALLEST["cpu" if device == "cpu" else "gpu"], _ENLARGED * usual_side(photos))
    return _look("frozen", photos, LITE0, side, augment)


def frozen_looks(
    photos: Photos, first: Member, seconds: float, device: str
) -> tuple[tuple[Member, ...], float, str]:
    """Choose networks that only need their vectors projected; the fusion decides who answers.

    Args:
        photos: All photos.
        first: From ``first_look``.
        seconds: That the embeddings of all photos may take. The first look is taken in any case.
        device: Where networks run; they are timed there.

    Returns:
        The members, the smallest look first; the seconds that they take; and why, in one sentence.
    """
    largest, smallest = usual_side(photos), np.sqrt(_area(first))
    each = seconds_per_photo(photos, first, device=device) * len(photos)
    spent, members, told = _VIEWS * each, [first], []
    for backbone, sides in _LARGER:
        some = [
            _look(f"{backbone[-5:]}-{side}", photos, backbone, side, first.augment)
            for side in sides
            if smallest * 1.15 < side <= _ENLARGED * largest
        ]
        if not some or spent >= seconds:
            continue
        # One size is timed: the others cost as many times more as they have more pixels.
        per_pixel = seconds_per_photo(photos, some[-1], device=device) / _area(some[-1])
        costs = [per_pixel * _area(member) * len(photos) * _VIEWS for member in some]
        fits = [pair for pair in zip(some, costs, strict=True) if spent + pair[1] <= seconds]
        for member, cost in fits[:1]:
            members.append(member)
            spent += cost
            told.append(f"{backbone} at {_pixels(member)} px ({cost:.0f} s)")
    more = int(np.clip((seconds - spent) / max(each, 1e-9), 0, _MOST_VIEWS - _VIEWS))
    members[0] = replace(first, network=replace(embedding_of(first), jitter=1 + more))
    also = (
        f"also {' and '.join(told)}: which of them answer is settled out of fold"
        if told
        else "photos are too small, or there is no time, for a larger one"
    )
    return tuple(members), spent + more * each, f"input: {_pixels(first)} px; {also}"


def geometry_of(photos: Photos, side: float) -> Geometry:
    """An input of as many pixels as a square of this side has, in the shape of the usual box."""
    ratios = [w / h for _, _, h, w in (photos.window(i) for i in range(len(photos)))]
    aspect = float(np.clip(np.median(ratios), 0.4, 2.5))
    height, width = side / np.sqrt(aspect), side * np.sqrt(aspect)
    size_hw = max(32, round(height / 32) * 32), max(32, round(width / 32) * 32)
    return Geometry(fit="whole", size_hw=size_hw, margin=0.05)


def usual_side(photos: Photos) -> float:
    """The longer side of the usual box, in pixels."""
    return float(np.median([max(photos.window(i)[2:]) for i in range(len(photos))]))


def seconds_per_photo(photos: Photos, member: Member, *, device: str) -> float:
    """Time the embedding of some photos by a member's network, in one view."""
    rows = np.arange(min(len(photos), 2 * BATCH))
    model = build_recogniser(member, inputs_of(photos, member.geometry), (), pretrained=False)
    model = model.to(device).eval()
    embed_with(model, photos, rows[:1], member.geometry, device=device)  # warms up
    started = time.perf_counter()
    embed_with(model, photos, rows, member.geometry, device=device)
    return (time.perf_counter() - started) / max(len(rows), 1)


def _look(name: str, photos: Photos, backbone: str, side: float, augment: Augment) -> Member:
    """A network that is only projected."""
    network = Embedding(
        backbone=backbone,
        head="none",
        neck="none",
        pooling="layout",
        project="lda",
        jitter=_VIEWS - 1,
    )
    return Member(name, network, geometry_of(photos, side), augment, stages=())


def _area(member: Member) -> int:
    """Pixels of its input."""
    return int(np.prod(member.geometry.size_hw))


def _pixels(member: Member) -> str:
    """Its input in words."""
    height, width = member.geometry.size_hw
    return f"{height} x {width}"
