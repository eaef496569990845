"""Geometry: keypoints of pictures, which of them agree, and whether one view explains them."""

from transect.matching.features import (
    Keypoints,
    KeypointSpec,
    extract,
    read_keypoints,
    write_keypoints,
)
from transect.matching.homography import Verified, normalised_homography, verify
from transect.matching.lnbnn import lnbnn_scores
from transect.matching.match import Stacked, best_two, match_many, match_one, stack
from transect.matching.pairs import (
    ListedPairs,
    MatchSpec,
    PairSource,
    PairTable,
    all_pairs,
    run_pairs,
)
from transect.matching.validity import Validity, fit_validity, load_validity, save_validity

__all__ = [
    "KeypointSpec",
    "Keypoints",
    "ListedPairs",
    "MatchSpec",
    "PairSource",
    "PairTable",
    "Stacked",
    "Validity",
    "Verified",
    "all_pairs",
    "best_two",
    "extract",
    "fit_validity",
    "lnbnn_scores",
    "load_validity",
    "match_many",
    "match_one",
    "normalised_homography",
    "read_keypoints",
    "run_pairs",
    "save_validity",
    "stack",
    "verify",
    "write_keypoints",
]
