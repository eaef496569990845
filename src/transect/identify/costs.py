"""What matching costs on this machine, measured on some of a survey's photos."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transect.identify.geometry import KeypointFiles, cut_at_full_size, match_rows
from transect.identify.photos import Photos
from transect.matching import extract, lnbnn_scores
from transect.recipe import IdentifyDecide
from transect.types import Quiet

__all__ = ["MatchingCosts", "matching_costs"]

_PHOTOS = 12  # that are looked at; 132 pairs


@dataclass(frozen=True)
class MatchingCosts:
    """Seconds of one core.

    Attributes:
        photo: To find the keypoints of a photo.
        pair: To match two photos and verify their view.
        vote: To let a photo's keypoints vote on one photo of its shortlist.
    """

    photo: float
    pair: float
    vote: float


def matching_costs(photos: Photos, decide: IdentifyDecide) -> MatchingCosts:
    """Find, match and vote on some photos, evenly taken.

    Args:
        photos: Two at least.
        decide: How keypoints are taken.
    """
    some = np.unique(np.linspace(0, len(photos) - 1, _PHOTOS).astype(int)).tolist()
    spec = KeypointFiles.of(Path(), decide).spec
    began = time.perf_counter()
    found = [extract(cut_at_full_size(photos.subjects[row]), spec) for row in some]
    extracted = time.perf_counter()
    places = np.arange(len(found))
    left, right = np.nonzero(places[:, None] != places)
    match_rows(
        found.__getitem__,
        found.__getitem__,
        np.stack([left, right], axis=1),
        decide=decide,
        folder=None,
        data="",
        workers=1,
        progress=Quiet(),
    )
    matched = time.perf_counter()
    lnbnn_scores(found, found, places, chosen=[places] * len(found))
    voted = time.perf_counter()
    return MatchingCosts(
        (extracted - began) / len(found),
        (matched - extracted) / max(len(left), 1),
        (voted - matched) / len(found) ** 2,
    )
