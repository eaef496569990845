"""What lies between sources and answers: sources, the decision as a file, tables, parts alone."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image as Picture

from tests.identify.conftest import TINY, with_decide
from transect import recipes
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.identify.answers import write_answers
from transect.identify.boxes import boxes_beside, subjects_beside
from transect.identify.deciding import Decisions, answers_table, expected_share
from transect.identify.identifier import Identifier, layout_of
from transect.identify.leak import same_encounter_leak
from transect.identify.oof import fold_model, fold_vectors, score_held_out
from transect.identify.photos import whole_photos
from transect.identify.predicting import Answering
from transect.identify.scorers import identity_scores, image_scores, source_names
from transect.identify.source_ablation import decided_by, kinds_of_sources
from transect.identify.task import folds_of
from transect.openset.aggregation import prototypes
from transect.openset.evidence import NOBODY, UNKNOWN, rewards
from transect.task import NewImages, used_folds
from transect.types import Image, Quiet


@pytest.fixture(scope="module")
def identifier(tiny_run):
    return Identifier(tiny_run, device="cpu")


@pytest.fixture(scope="module")
def held_out(tiny_run, photos, identifier):
    folds = folds_of(tiny_run, TINY, photos)
    return score_held_out(
        tiny_run, TINY, photos, folds, identifier.people, device="cpu", progress=Quiet()
    )


@pytest.fixture(scope="module")
def looked(identifier, asked):
    from transect.data.folder import list_new

    new = identifier.open_photos(whole_photos(list_new(asked / "images")[0]), None, Quiet())
    return new, identifier.score(new, Quiet())


def test_sources_are_members_by_kind_or_name():
    assert source_names(TINY) == ("frozen", "geometry", "lnbnn")
    blend = recipes.load("whale-yu4u-blend")
    assert source_names(blend) == ("wide", "square", "siamese")
    with pytest.raises(TransectError, match="no source"):
        source_names(with_decide(TINY, sources=("siamese",)))


def test_no_photo_is_asked_of_its_own_encounter_or_of_what_saw_it(held_out, photos):
    groups = np.array([s.group for s in photos.subjects])
    for row, near in zip(held_out.rows, held_out.scores.image_rows, strict=True):
        assert (groups[near[near >= 0]] != groups[row]).all()
    assert sorted(held_out.rows) == list(range(len(photos)))
    unnamed = photos.named()[held_out.rows] == "new_whale"
    assert (held_out.truth[unnamed] == UNKNOWN).all()


def test_vectors_are_of_length_one_and_scores_are_their_products(tiny_run, photos):
    member = TINY.members[0]
    vectors = fold_vectors(tiny_run, member, 0)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-4)
    model = fold_model(tiny_run, member, 0)
    scores = image_scores(model, vectors[:3], vectors, device="cpu")
    np.testing.assert_allclose(scores, vectors[:3] @ vectors.T, rtol=1e-5)
    owners = np.arange(len(vectors)) % 4
    for how in ("max", "mean", "prototype"):
        decide = with_decide(TINY, to_identity=how).decide
        table = identity_scores(
            model,
            scores,
            vectors[:3],
            lambda: prototypes(vectors, owners, 5),
            owners,
            "abcde",
            decide,
        )
        assert table.shape == (3, 5)
        assert (table[:, 4] == -np.inf).all()  # nobody's photo is there


def test_new_photos_are_scored_like_held_out_ones(identifier, looked):
    """Photo scores are means over folds, or a level fitted out of fold means nothing here."""
    new, found = looked
    parts = identifier.vectors(new, Quiet())
    assert len(identifier.layout) == len(used_folds(TINY)) == 2
    stored = identifier.book.embeddings()[identifier.known]
    by_hand = np.mean(
        [
            parts[:, e["start"] : e["stop"]] @ stored[:, e["start"] : e["stop"]].T
            for e in identifier.layout
        ],
        axis=0,
    )
    best = -np.sort(-by_hand, axis=1)[:, :10]
    np.testing.assert_allclose(found.image_scores[:, :10], best, rtol=1e-4, atol=1e-5)
    assert found.image_scores.max() <= 1.001


def test_each_kind_of_source_alone_and_all_together(identifier, held_out, looked, photos):
    new, found = looked
    truth = np.array(
        [int(s.key[3]) if s.key[4] == "_" else UNKNOWN for s in new.subjects], np.int64
    )
    assert identifier.people[:4].tolist() == ["a0", "a1", "a2", "a3"]
    worth = {}
    for name, part in kinds_of_sources(held_out.scores.candidates.sources).items():
        decisions = decided_by(part, held_out, TINY, 0.25)
        assert decisions.fusion.sources == part
        worth[name] = rewards(
            identifier.decide_with(decisions, new, found).decision.ranked, truth
        ).mean()
    together = identifier.decide_with(identifier.decisions, new, found).decision.ranked
    assert rewards(together, truth).mean() >= min(worth.values())
    assert set(worth) == {"networks only", "geometry only"}
    with pytest.raises(TransectError, match="geometry"):
        decided_by(("geometri",), held_out, TINY, 0.25)


def test_a_decision_survives_its_file(identifier, looked):
    new, found = looked
    stored = json.loads(json.dumps(identifier.decisions.to_json(), allow_nan=False))
    back = Decisions.from_json(stored)
    first = identifier.decide_with(identifier.decisions, new, found)
    second = identifier.decide_with(back, new, found)
    np.testing.assert_array_equal(first.decision.ranked, second.decision.ranked)
    np.testing.assert_allclose(first.decision.probability, second.decision.probability, atol=1e-9)
    with pytest.raises(TransectError, match="no decision"):
        Decisions.from_json({"fusion": {}})


def test_names_in_tables_cannot_run_in_a_spreadsheet(identifier, looked):
    new, found = looked
    answered = identifier.decide_with(identifier.decisions, new, found)
    text = answers_table(
        new.subjects,
        answered.decision,
        np.array(["=1+1" for _ in identifier.people]),
        "new",
        why=answered.why,
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(new)
    assert not any(row["identity"].startswith("=") for row in rows)
    assert NOBODY not in answered.decision.ranked  # eight individuals fill five places


def test_the_table_ranks_the_known_beside_the_decision_about_new(identifier, looked):
    new, found = looked
    decision = identifier.decide_with(identifier.decisions, new, found).decision
    text = answers_table(new.subjects, decision, identifier.people, identifier.unknown)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert identifier.unknown in {row["identity"] for row in rows}
    for row, order in zip(rows, decision.known, strict=True):
        assert [row[f"identity_{k}"] for k in range(1, 6)] == identifier.people[order].tolist()


def test_the_page_shows_candidates_and_the_places_that_agree(identifier, looked, tmp_path):
    new, found = looked
    answered = identifier.decide_with(identifier.decisions, new, found)
    assert (answered.proof_rows >= 0).any()
    page = write_answers(tmp_path / "a.html", identifier, answered).read_text()
    assert page.count("<img") > len(new)
    assert "places agree with" in page
    assert 'href="queries/001.html"' in page
    every = (tmp_path / "queries" / "001.html").read_text()
    assert all(f"{s.key}: " in every for s in new.subjects)


def test_the_expected_share_is_the_recipes_else_the_tables():
    names = np.array(["a", "new", "b", "new"])
    assert expected_share(TINY.decide, names, "new") == 0.25
    assert expected_share(with_decide(TINY, share_new=None).decide, names, "new") == 0.5
    assert expected_share(with_decide(TINY, share_new=None).decide, names, "x") is None


def test_the_leak_compares_the_same_photos_with_and_without_their_encounter(tiny_run, photos):
    folds = folds_of(tiny_run, TINY, photos)
    found = same_encounter_leak(tiny_run, TINY, photos, folds)
    assert found["source"] == "frozen"
    assert found["queries"] == 48  # every photo of the eight named ones has both kinds
    assert 0 <= found["without"] <= 1
    only = with_decide(TINY, sources=("geometry",))
    assert same_encounter_leak(tiny_run, only, photos, folds) is None


def test_the_layout_says_where_each_fold_lies():
    layout = layout_of({("a", 0): (4,), ("s", 0): (2, 3)})
    assert [(e["start"], e["stop"], e["views"]) for e in layout] == [(0, 4, 0), (4, 10, 2)]


def test_boxes_beside_new_photos_and_what_is_wrong_with_them(tmp_path):
    images = [Image(n, tmp_path / n, (50, 100), 3) for n in ("a.png", "b.png", "c.png")]
    assert boxes_beside(tmp_path, images) == ({}, ())
    (tmp_path / "boxes.csv").write_text(
        "image,x0,y0,x1,y1\na.png,5,6,40,30\na.png,0,0,9,9\nb.png,90,10,20,30\nz.png,1,1,2,2\n"
        "c.png,-9,2,200,20\n"
    )
    found, problems = boxes_beside(tmp_path, images)
    assert found == {"a.png": (5, 6, 40, 30), "c.png": (-0.5, 2, 99.5, 20)}
    told = " ".join(problem.what for problem in problems)
    assert "no box inside b.png" in told
    assert "z.png" in told


def test_what_tables_beside_new_photos_tell_of_them_but_their_names(tmp_path):
    images = [
        Image(n, tmp_path / n, (50, 100), 3, side=s)
        for n, s in (("a.png", None), ("b.png", "left"), ("c.png", None))
    ]
    (tmp_path / "identities.csv").write_text(
        "image,identity,group,side\na.png,Wanda,e1,right\nb.png,Wilma,e2,right\n"
    )
    found, problems = subjects_beside(tmp_path, images)
    assert [(s.side, s.group, s.identity) for s in found] == [
        ("right", "e1", None),
        ("left", "e2", None),
        (None, None, None),
    ]
    assert not problems


class Asked:
    """Stands for a loaded run: keeps the animals that it is asked about."""

    def open_photos(self, subjects, scratch, progress):
        self.subjects = tuple(subjects)
        return Nobody()


class Nobody(list):
    problems = ()


def test_a_survey_with_truth_is_asked_with_its_sides_boxes_and_second_animals(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        Picture.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "images" / name)
    (tmp_path / "identities.csv").write_text(
        "image,identity,side,x0,y0,x1,y1\n"
        "a.png,Wanda,left,0,0,20,30\na.png,Wilma,right,25,0,50,30\nb.png,Wanda,left,,,,\n"
    )
    survey = open_survey(tmp_path)
    asked = Asked()
    new = NewImages(survey.images, tmp_path, survey)
    assert not list(Answering(asked, encounters=False).answers(new, Quiet()))
    assert [(s.key, s.side, s.box, s.identity) for s in asked.subjects] == [
        ("a.png", "left", (0, 0, 20, 30), None),
        ("a.png#2", "right", (25, 0, 50, 30), None),
        ("b.png", "left", None, None),
    ]
