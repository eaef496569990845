import numpy as np
import pytest

from transect.errors import TransectError
from transect.identify.geometry import (
    NOTHING,
    UNVERIFIED,
    GeometryModel,
    KeypointFiles,
    best_proof,
    cores,
    fit_geometry,
    match_rows,
    pair_scores,
)
from transect.recipe import IdentifyDecide
from transect.types import Quiet

DECIDE = IdentifyDecide(keypoints=80, keypoint_side=128, min_matches=6)


@pytest.fixture(scope="module")
def matched(photos, tmp_path_factory):
    """All pairs of photos of four animals."""
    rows = np.flatnonzero(np.isin(photos.named(), ["a0", "a1", "a2", "a3"]))
    some = photos.take(rows)
    files = KeypointFiles.of(tmp_path_factory.mktemp("keypoints"), DECIDE)
    counts = files.take(some.subjects, Quiet())
    keys = [s.key for s in some.subjects]
    pairs = np.stack(np.triu_indices(len(keys), 1), axis=1)

    def read(i):
        return files.read(keys[i])

    table = match_rows(
        read, read, pairs, decide=DECIDE, folder=None, data="", workers=1, progress=Quiet()
    )
    return some, files, counts, table


def test_keypoints_are_taken_once_and_half_files_again(matched):
    some, files, counts, _ = matched
    assert (counts > 10).all()
    path = files.path(some.subjects[0].key)
    before = path.stat().st_mtime_ns
    files.path(some.subjects[1].key).write_bytes(b"half")
    np.testing.assert_array_equal(files.take(some.subjects, Quiet()), counts)
    assert path.stat().st_mtime_ns == before
    assert len(files.read(some.subjects[1].key)) == counts[1]


def test_pairs_of_one_animal_score_above_others_by_a_judge_that_had_not_seen_them(
    matched, tmp_path
):
    some, _, _, table = matched
    names = some.named()
    same = names[table.query] == names[table.gallery]
    first = table.query < np.median(table.query)
    scores = fit_geometry(table.take(~first), same[~first], seed=0).scores(table)
    model = fit_geometry(table, same, seed=0)
    scores, same = scores[first], same[first]
    assert np.median(scores[same]) > np.median(scores[~same]) + 1
    model.save(tmp_path / "g.skops")
    np.testing.assert_allclose(
        GeometryModel.load(tmp_path / "g.skops").scores(table), model.scores(table)
    )


def test_a_pair_without_a_view_stands_below_every_possible_one(matched):
    table = matched[3]
    found = np.isfinite(table.homographies[:, 0, 0])
    for chance in (0.01, 1.0):
        scores = pair_scores(table, np.full(len(table), chance))
        assert (scores[~found] <= UNVERIFIED).all()
        assert (scores[~found] >= NOTHING).all()
        assert (scores[found] > UNVERIFIED).all()


def test_only_a_verified_pair_is_a_proof():
    scores = np.array([[1.0, 7.0], [UNVERIFIED - 1, NOTHING], [-np.inf, -np.inf]])
    value, whose, rows = best_proof(scores, np.array([4, 5]), np.array([40, 50]))
    assert value[0] == 7
    assert whose.tolist() == [5, -2, -2]
    assert rows.tolist() == [50, -1, -1]
    assert best_proof(np.zeros((2, 0)), np.zeros(0, int), np.zeros(0, int))[2].tolist() == [-1, -1]


def test_a_judge_from_elsewhere_is_refused(tmp_path):
    (tmp_path / "g.skops").write_bytes(b"nothing")
    with pytest.raises(TransectError, match="is not a classifier"):
        GeometryModel.load(tmp_path / "g.skops")
    assert cores() >= 1
