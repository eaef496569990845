"""Held-out and new photos go through one predictor: what is scored is what ships."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from tests.identify.conftest import TINY, begin, with_decide, write_animals
from tests.verbs import identify
from transect.data.folder import list_new
from transect.data.survey import open_survey
from transect.folds import read_folds
from transect.identify.identifier import Identifier, needed_scorers
from transect.identify.oof import fold_model
from transect.identify.photos import whole_photos
from transect.identify.predictor import Features, Scorers, _votes
from transect.identify.projection import Projection
from transect.identify.scorers import joined_vectors
from transect.identify.sides import comparable, reachable
from transect.matching import Keypoints, lnbnn_scores
from transect.openset.evidence import UNKNOWN
from transect.recipe import IdentifyDecide
from transect.types import Quiet

SHORT = with_decide(TINY, shortlist=12, min_matches=4)


@pytest.fixture(scope="module")
def short_run(animals, tmp_path_factory):
    """A run whose geometry and votes look at a shortlist, and whose folds judge views apart."""
    photos, run = begin(animals, tmp_path_factory.mktemp("short") / "run", SHORT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transect.matching.validity.LEAST", 4)
        identify.train(photos, SHORT, run.path, progress=Quiet(), device="cpu")
    return run


@pytest.mark.parametrize("which", ["tiny_run", "short_run"])
def test_held_out_photos_through_predict_give_the_out_of_fold_file(
    which, request, photos, animals, tmp_path
):
    run = request.getfixturevalue(which)
    keys = [s.key for s in photos.subjects]
    folds = read_folds(run.path / "folds.csv", keys)
    with np.load(run.oof() / "scores.npz", allow_pickle=False) as file:
        stored = {name: file[name] for name in file.files}
    for fold in range(2):
        held = [key for key, number in zip(keys, folds, strict=True) if number == fold]
        folder = tmp_path / f"new{fold}"
        folder.mkdir()
        for key in held:
            shutil.copy(animals / "images" / key, folder / key)
        held_out = dict(zip(keys, folds.tolist(), strict=True))
        identifier = Identifier(run, device="cpu", held_out=held_out, fold=fold)
        new = identifier.open_photos(whole_photos(list_new(folder)[0]), None, Quiet())
        assert [s.key for s in new.subjects] == held
        found = identifier.score(new, Quiet()).arrays()
        mine = folds[stored["rows"]] == fold
        width = found["candidates"].shape[1]
        assert (stored["candidates"][mine][:, width:] < 0).all()
        for name, values in found.items():
            kept = stored[name] if name == "sources" else stored[name][mine]
            if name in ("candidates", "scores"):  # folds are padded to the widest
                kept = kept[:, :width]
            assert kept.tobytes() == values.tobytes(), name


def test_a_scorer_that_the_decision_does_not_hear_is_not_asked(tiny_run, asked, monkeypatch):
    identifier = Identifier(tiny_run, device="cpu")
    fusion = dataclasses.replace(identifier.decisions.fusion, how="frozen", model=None)
    decider = dataclasses.replace(identifier.decisions.decider, chosen="constant")
    alone = dataclasses.replace(identifier.decisions, fusion=fusion, decider=decider)
    assert needed_scorers(TINY, alone) == ("frozen",)
    proven = dataclasses.replace(
        alone, decider=dataclasses.replace(decider, chosen="constant+override")
    )
    assert needed_scorers(TINY, proven) == ("frozen", "geometry")
    votes = dataclasses.replace(alone, fusion=dataclasses.replace(fusion, how="lnbnn"))
    assert needed_scorers(TINY, votes) == ("lnbnn",)
    assert needed_scorers(SHORT, votes) == ("frozen", "lnbnn")  # which makes its shortlist

    new = identifier.open_photos(whole_photos(list_new(asked / "images")[0]), None, Quiet())
    whole = identifier.decide_with(alone, new, identifier.score(new, Quiet()))

    def refuse(*words, **options):
        raise AssertionError("keypoints were taken or matched for nothing")

    monkeypatch.setattr("transect.identify.predictor.match_rows", refuse)
    monkeypatch.setattr("transect.identify.predictor.lnbnn_scores", refuse)
    part = identifier.decide_with(alone, new, identifier.score(new, Quiet(), ("frozen",)))
    np.testing.assert_array_equal(part.decision.ranked, whole.decision.ranked)


def test_votes_count_by_the_root_of_an_individuals_photos():
    rng = np.random.default_rng(0)

    def made(number):
        vectors = rng.normal(size=(30, 16)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        line = np.ones(30, np.float32)
        return Keypoints(np.ones((30, 2), np.float32), vectors, line, line, line, (9, 9))

    def features(points, owners):
        whole = np.arange(len(points))
        sides = np.full(len(points), "", dtype=np.str_)
        return Features(whole, np.array(owners), sides, {}, points.__getitem__)

    owners = [0, 0, 0, 0, 1, 2]
    queries, gallery = [made(i) for i in range(3)], [made(i) for i in range(6)]
    scorers = Scorers(("lnbnn",), {}, tuple("abcd"), IdentifyDecide(shortlist=0), "cpu")
    found = _votes(scorers, features(queries, [-1] * 3), features(gallery, owners), None)
    raw = lnbnn_scores(queries, gallery, np.array(owners))
    np.testing.assert_allclose(found[:, :3], raw / np.sqrt([4, 1, 1]), rtol=1e-6)
    assert (found[:, 3] == -np.inf).all()  # nobody showed it


def test_a_shortlist_leaves_others_out(short_run):
    with np.load(short_run.oof() / "scores.npz", allow_pickle=False) as file:
        scores, sources = file["scores"], file["sources"].tolist()
    for name in ("geometry", "lnbnn"):
        real = np.isfinite(scores[:, :, sources.index(name)]).sum(axis=1)
        assert real.max() <= 7  # of eight: twelve photos are of no more individuals
    assert np.isfinite(scores[:, :, sources.index("frozen")]).sum(axis=1).max() == 8


def test_flanks_meet_the_same_flank_and_photos_without_one():
    queries = np.array(["left", "right", "", "left"])
    gallery = np.array(["left", "right", ""])
    pairs = {
        (q, g)
        for mine, theirs in comparable(queries, gallery, "separate")
        for q in mine.tolist()
        for g in theirs.tolist()
    }
    assert pairs == {(0, 0), (0, 2), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0), (3, 2)}
    assert len(next(comparable(queries, gallery, "together"))[1]) == 3
    own, owners = np.array([7, 7, 7, 8]), np.array([7, 8, 9])
    truth = reachable(own, queries, owners, gallery, "separate")
    assert truth.tolist() == [7, UNKNOWN, 7, UNKNOWN]
    assert reachable(own, queries, owners, gallery, "together").tolist() == [7, 7, 7, 8]


def test_a_run_by_flanks_names_nobody_by_the_other_flank(tmp_path):
    root = write_animals(tmp_path / "survey", people=8, encounters=4, frames=1)
    table = pd.read_csv(root / "identities.csv")
    # Animals 0 to 2 were never seen from the left; of the others both flanks are known.
    number = table.image.str[3].astype(int)
    table["side"] = np.where((number % 2 == 0) & (table.image.str[:2] > "02"), "left", "right")
    table.to_csv(root / "identities.csv", index=False)
    recipe = with_decide(TINY, sides="separate", sources=("embedding",), policies=("constant",))
    photos, run = begin(root, tmp_path / "run", recipe)
    identify.train(photos, recipe, run.path, progress=Quiet(), device="cpu")
    assert len(run.read_json("members/frozen/fold0/counts.json")) > 6  # flanks are classes
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(root / "images" / "04_0_0.png", new / "x.png")
    (new / "images.csv").write_text("image,side\nx.png,left\n")
    identifier = Identifier(run, device="cpu")
    asked = identifier.open_photos(whole_photos(list_new(new)[0]), None, Quiet())
    found = identifier.score(asked, Quiet())
    named = {str(identifier.people[i]) for i in found.candidates.identities[0] if i >= 0}
    assert named == {"a3", "a4", "a5"}


def test_a_vector_hangs_on_no_other_photo(tiny_run):
    rng = np.random.default_rng(0)
    fold = fold_model(tiny_run, TINY.members[0], 0)
    centre, matrix = rng.normal(size=640), rng.normal(size=(640, 90))
    projection = Projection(centre.astype(np.float32), matrix.astype(np.float32))
    fold = dataclasses.replace(fold, projections=(projection,))
    raw = rng.normal(size=(150, 1, 1, 640)).astype(np.float32)
    whole = joined_vectors(fold, [(raw, 1.0)])
    for row in (0, 70, 149):
        assert joined_vectors(fold, [(raw[row : row + 1], 1.0)]).tobytes() == whole[row].tobytes()


def test_new_photos_keep_their_place(tiny_run, asked):
    identifier = Identifier(tiny_run, device="cpu")
    survey = open_survey(asked)
    new = identifier.open_photos(whole_photos(survey.images), None, Quiet())
    found = identifier.score(new, Quiet())
    for row in (0, 5, 11):
        alone = identifier.score(new.take(np.array([row])), Quiet())
        assert alone.image_rows.tobytes() == found.image_rows[row : row + 1].tobytes()
