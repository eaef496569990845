import csv
from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest

from transect.errors import TransectError
from transect.simulate.flukes import draw_fluke, photograph, write_fluke_survey


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    root = tmp_path_factory.mktemp("flukes") / "survey"
    return write_fluke_survey(root, identities=8, images=60, seed=3, size_hw=(64, 128))


def test_the_same_numbers_give_the_same_photos(tmp_path, survey):
    again = write_fluke_survey(tmp_path / "b", identities=8, images=60, seed=3, size_hw=(64, 128))
    files = sorted(p.relative_to(survey) for p in survey.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    for name in (files[0], files[5], files[-1], files[-2]):
        assert (survey / name).read_bytes() == (again / name).read_bytes()


def test_tables_tell_one_story(survey):
    every, train = rows(survey / "images.csv"), rows(survey / "identities.csv")
    truth = rows(survey / "truth" / "identities.csv")
    split = {r["image"]: r["split"] for r in every}
    assert len(every) == len(list((survey / "images").iterdir())) == 60
    assert {r["image"] for r in train} == {n for n, s in split.items() if s == "train"}
    assert {r["image"] for r in truth} == {n for n, s in split.items() if s == "test"}


def test_encounters_do_not_cross_the_split_and_show_one_individual(survey):
    every = rows(survey / "images.csv")
    names = {
        r["image"]: r["identity"]
        for f in ("identities.csv", "truth/identities.csv")
        for r in rows(survey / f)
    }
    splits, people = defaultdict(set), defaultdict(set)
    for r in every:
        splits[r["group"]].add(r["split"])
        people[r["group"]].add(names[r["image"]])
    assert all(len(s) == 1 for s in splits.values())
    assert all(len(p) == 1 for p in people.values())


def test_the_unknown_have_their_share_and_the_tail_is_long(survey):
    truth = rows(survey / "truth" / "identities.csv")
    share = np.mean([r["identity"] == "unknown" for r in truth])
    assert share == pytest.approx(0.3, abs=0.04)
    count = Counter(r["identity"] for r in rows(survey / "identities.csv"))
    known = {n: c for n, c in count.items() if n != "unknown"}
    assert len(known) == 8
    assert max(known.values()) >= 3 * min(known.values())
    assert {r["identity"] for r in truth} <= {*known, "unknown"}


def test_an_individual_resembles_itself_more_than_others():
    flat = [
        cv2.resize(draw_fluke(0, i).skin.mean(2) * draw_fluke(0, i).alpha, (32, 16))
        for i in range(4)
    ]
    again = cv2.resize(draw_fluke(0, 2).skin.mean(2) * draw_fluke(0, 2).alpha, (32, 16))
    away = [np.abs(again - f).mean() for f in flat]
    assert away[2] == 0
    assert min(away[:2] + away[3:]) > 0.02


def test_a_burst_shares_its_sea_and_another_encounter_does_not():
    fluke = draw_fluke(0, 0)
    one, two = (photograph(fluke, encounter=(0, 5), frame=f) for f in (0, 1))
    other = photograph(fluke, encounter=(0, 6), frame=0)
    corner = [p[-40:, :60].astype(float).mean((0, 1)) for p in (one, two, other)]
    assert np.abs(corner[0] - corner[1]).max() < 6
    assert np.abs(corner[0] - corner[2]).max() > 10
    assert not np.array_equal(one, two)


def test_the_fluke_is_in_the_picture():
    fluke = draw_fluke(0, 1)  # nearly white
    photo = photograph(fluke, encounter=(0, 1), frame=0).astype(float)
    assert photo.shape == (224, 448, 3)
    middle, rim = photo[90:130, 150:300].mean(2), photo[:, :12].mean(2)
    assert abs(middle.mean() - rim.mean()) > 10


@pytest.mark.parametrize(
    ("options", "say"),
    [
        ({"size_hw": (32, 64)}, "at least 64"),
        ({"identities": 1}, "two individuals"),
        ({"images": 5}, "two photos of each"),
        ({"share_unknown": 1.5}, "shares"),
    ],
)
def test_wrong_numbers_are_refused(tmp_path, options, say):
    with pytest.raises(TransectError, match=say):
        write_fluke_survey(tmp_path / "s", **{"identities": 6, "images": 40, **options})


def test_a_full_folder_is_left_alone(survey):
    with pytest.raises(TransectError, match="not an empty folder"):
        write_fluke_survey(survey)
