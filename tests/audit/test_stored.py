"""The audit that a run keeps, what its report says of it, and scores without leaks."""

import csv
import json
import shutil

import numpy as np
import pytest

from tests.audit import planted
from tests.small import write_disc_survey
from tests.verbs import count, identify, segment
from transect.audit import audit, audit_once, keep_audit, keep_doubts, leaks_of, run_groups
from transect.audit.findings import Finding
from transect.audit.stored import fill_report, kept_audit
from transect.cli.format import leak_lines
from transect.count.scoring import rows_of
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.folds import write_folds
from transect.metrics.count import PointMatch
from transect.pipeline.train import ROWS
from transect.recipe import CountDecide, IdentifyDecide, Recipe
from transect.report.page import Page
from transect.run import RunFolder
from transect.task import Rows
from transect.types import Quiet


def kept_run(survey, run, folds, **more):
    """A run folder as far as leaks need it."""
    audit_once(survey, run, progress=Quiet())
    write_folds(run / "folds.csv", list(folds), np.array(list(folds.values())))
    for name, value in more.items():
        RunFolder(run).write_json(name.replace("__", "/") + ".json", value)


@pytest.fixture
def masks(tmp_path):
    """Eight pictures, two of which are copies in different folds, and their scores."""
    root = write_disc_survey(tmp_path / "s")
    for folder in ("images", "masks"):
        shutil.copy(root / folder / "p0.png", root / folder / "p0b.png")
    survey = open_survey(root)
    names = [image.name for image in survey.images]
    folds = {name: i % 2 for i, name in enumerate(names)}
    assert folds["p0.png"] != folds["p0b.png"]
    usual = {"dice": 0.5, "iou": 0.4, "salt_map": 0.3, "boundary_distance": 1.0}
    copy = np.array([name in ("p0.png", "p0b.png") for name in names])
    columns = {metric: np.where(copy, 1.0, value) for metric, value in usual.items()}
    rows = Rows(tuple(names), np.array(list(folds.values())), ("",) * len(names), columns)
    kept_run(survey, tmp_path / "run", folds)
    rows.save(tmp_path / "run" / ROWS)
    RunFolder(tmp_path / "run").begin(Recipe(), {"mask_kind": "binary"})
    return survey, tmp_path / "run", rows


def test_masks_are_scored_without_copies_in_other_folds(masks):
    _, run, rows = masks
    leaks = leaks_of(run)
    assert leaks.units == {"p0.png": "copy", "p0b.png": "copy"}
    assert leaks.pairs == {"copy": 1}
    everything = segment.score_without(run, ())
    free = segment.score_without(run, leaks.units)
    assert everything["dice"]["value"] == pytest.approx((2 + 0.5 * 7) / 9)
    assert free["dice"]["value"] == pytest.approx(0.5)
    assert free["dice"]["pictures"] == 7
    assert segment.score_without(run, rows.names) == {}


def test_groups_that_close_the_leak_leave_nothing_to_remove(masks):
    survey, run, _ = masks
    report = kept_audit(run).report
    assert set(report.groups) == {"p0.png", "p0b.png"}
    together = dict.fromkeys((i.name for i in survey.images), 0)
    write_folds(run / "folds.csv", list(together), np.array(list(together.values())))
    assert leaks_of(run).units == {}


def test_the_report_tells_leaks_doubts_and_both_scores(masks):
    _, run, _ = masks
    keep_doubts([Finding("label-noise", "warning", ("p3.png",), "Look.", "Mend.")], run)
    page = Page("x")
    fill_report(page, run, segment.score_without(run, ()), segment.score_without)
    text = page.html()
    assert "the same file stands in different folds" in text
    assert "label-noise" in text
    assert "leak-free" in text
    assert text.count("p3.png") == 1


def test_a_report_without_leaks_or_without_audit_says_so(masks, tmp_path):
    survey, run, _ = masks
    page = Page("x")
    fill_report(page, tmp_path / "none", {}, segment.score_without)
    assert "without an audit" in page.html()
    names = [image.name for image in survey.images]
    write_folds(run / "folds.csv", names, np.zeros(len(names), np.int64))
    page = Page("x")
    fill_report(page, run, {}, segment.score_without)
    assert "No copy, neighbour or sibling" in page.html()


def test_the_audit_is_made_once_and_anew_for_other_data(masks):
    survey, run, _ = masks
    first = (run / "audit.json").stat().st_mtime_ns
    audit_once(survey, run, progress=Quiet())
    assert (run / "audit.json").stat().st_mtime_ns == first
    (survey.root / "images" / "p1.png").unlink()
    (survey.root / "masks" / "p1.png").unlink()
    audit_once(open_survey(survey.root), run, progress=Quiet())
    assert (run / "audit.json").stat().st_mtime_ns != first


def test_findings_are_said_before_training(tmp_path):
    said = []

    class Said(Quiet):
        def say(self, line):
            said.append(line)

    root = write_disc_survey(tmp_path / "s")
    for name in ("p0.png", "p2.png"):
        shutil.copy(root / "images" / name, root / "images" / f"b{name}")
        shutil.copy(root / "masks" / name, root / "masks" / f"b{name}")
    audit_once(open_survey(root), tmp_path / "run", progress=Said())
    assert any("same file" in line for line in said)


def test_a_hurried_audit_says_what_it_left_out(tmp_path):
    report = audit(write_disc_survey(tmp_path / "s"), thorough=False, seconds=0.0)
    assert report.facts["left_out"] == ["annotations", "adjoining tiles", "backgrounds"]


def test_blocks_of_one_photo_in_two_folds_give_each_other_away(tmp_path):
    survey = open_survey(planted.count_survey(tmp_path / "s", 4))
    folds = {f"{i.name}@{top},0": top // 36 for i in survey.images for top in (0, 36)}
    kept_run(survey, tmp_path / "run", folds)
    leaks = leaks_of(tmp_path / "run")
    assert set(leaks.units) == set(folds)
    assert leaks.pairs == {"one photo": 4}


def table(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_counts_are_scored_without_photos_of_a_torn_group(tmp_path):
    root = planted.count_survey(tmp_path / "s", 6)
    survey = open_survey(root)
    names = [image.name for image in survey.images]
    planted.table(root / "images.csv", ["image", "group"], [[n, "ab"[i > 1]] for i, n in
                                                            enumerate(names[:4])])  # fmt: skip
    folds = dict(zip(names, [0, 1, 0, 0, 1, 1], strict=True))
    run = tmp_path / "run"
    kept_run(open_survey(root), run, folds, inputs={"classes": ["adult", "pup"]})
    RunFolder(run).begin(Recipe(question="count", decide=CountDecide()), {})
    header = ["image", "group", "fold", "true", "predicted", "low", "high"]
    header += ["true adult", "predicted adult", "true pup", "predicted pup"]
    rows = [[n, "", folds[n], 4, 4 + 3 * (i < 2), 3, 5, 2, 2 + 3 * (i < 2), 2, 2]
            for i, n in enumerate(names)]  # fmt: skip
    table(run / "oof" / "counts.csv", header, rows)
    points = [[n, 1, 1, fate, ""] for n in names for fate in ("right", "right", "missed")]
    table(run / "oof" / "points.csv", ["image", "x", "y", "fate", "confidence"], points)
    matches = [PointMatch(np.zeros((2, 2), np.int64), np.zeros(2), 2, 3) for _ in names]
    truth = np.full((len(names), 2), 2.0)
    counts = truth + np.array([[3 * (i < 2), 0] for i in range(len(names))])
    ends = np.tile([3.0, 5.0], (len(names), 1))
    groups = [run_groups(run).get(n) for n in names]
    own = np.array(list(folds.values()))
    rows_of(names, groups, own, counts, truth, intervals=ends, matches=matches).save(run / ROWS)
    assert leaks_of(run).pairs == {"group": 1}
    assert set(leaks_of(run).units) == set(names[:2])
    assert run_groups(run) == {names[0]: "a", names[1]: "a", names[2]: "b", names[3]: "b"}
    assert count.score_without(run, ())["mae"]["value"] == pytest.approx(1.0)
    free = count.score_without(run, leaks_of(run).units)
    assert free["mae"]["value"] == 0
    assert free["recall"]["value"] == pytest.approx(2 / 3)
    assert free["precision"]["value"] == 1
    assert count.score_without(run, names) == {}
    from transect.count.doubts import keep_doubtful_counts

    keep_doubtful_counts(RunFolder(run))
    assert json.loads((run / "oof" / "doubts.json").read_text()) == []


def test_identities_are_scored_without_encounters_that_a_fold_parts(tmp_path):
    root = planted.identify_survey(tmp_path / "s", 4, 2)
    lines = (root / "identities.csv").read_text().splitlines()
    lines[2] = lines[2].rsplit(",", 1)[0] + "," + lines[1].rsplit(",", 1)[1]  # both on one date
    (root / "identities.csv").write_text("\n".join(lines) + "\n")
    survey = open_survey(root)
    keys = [line.split(",")[0] for line in lines[1:]]
    names = [line.split(",")[1] for line in lines[1:]]
    people = sorted(set(names))
    folds = {key: i % 2 for i, key in enumerate(keys)}
    run = tmp_path / "run"
    kept_run(
        survey, run, folds,
        inputs={"unknown": "new_whale"},
        facts={"keys": keys, "people": people},
        decide={"share_new": None},
    )  # fmt: skip
    RunFolder(run).begin(Recipe(question="identify", decide=IdentifyDecide(top_k=2)), {})
    truth = np.array([people.index(name) for name in names])
    ranked = np.stack([truth, (truth + 1) % 4], axis=1)
    ranked[2:] = ranked[2:, ::-1]  # only the torn pair is answered rightly
    queries = len(keys)
    columns = {
        "truth": np.array(names), "ranked": np.array(people)[ranked],
        "known": np.array(people)[ranked],
        "probability": np.full((queries, 2), 0.4), "new": np.zeros(queries),
        "margin": np.ones(queries), "cannot_tell": np.zeros(queries, bool),
        "weight": np.ones(queries),
    }  # fmt: skip
    groups = tuple(run_groups(run).get(key, key) for key in keys)
    Rows(tuple(keys), np.array(list(folds.values())), groups, columns).save(run / ROWS)
    header = ["image", "identity", "probability", "truth", "cannot_tell"]
    sure = [0.99 if i == 5 else 0.4 for i in range(queries)]
    rows = [[k, people[ranked[i, 0]], sure[i], names[i], 0] for i, k in enumerate(keys)]
    table(run / "oof" / "answers.csv", header, rows)
    leaks = leaks_of(run)
    assert set(leaks.units) == set(keys[:2])
    assert set(leaks.pairs) == {"encounter", "flanks"}
    assert identify.score_without(run, ())["known_top1"]["value"] == pytest.approx(2 / 8)
    assert identify.score_without(run, leaks.units)["known_top1"]["value"] == 0
    assert identify.score_without(run, keys) == {}
    from transect.identify.doubts import keep_doubtful_names

    keep_doubtful_names(RunFolder(run))
    (doubt,) = json.loads((run / "oof" / "doubts.json").read_text())
    assert doubt["images"] == [keys[5]]


def test_a_run_without_an_audit_says_how_to_make_one(tmp_path):
    write_folds(tmp_path / "folds.csv", ["a"], np.zeros(1, np.int64))
    with pytest.raises(TransectError, match="transect audit DATA --run"):
        leaks_of(tmp_path)


def test_damaged_files_of_a_run_are_sentences(masks):
    _, run, _ = masks
    (run / "folds.csv").write_text("image,fold\na,x\n")
    with pytest.raises(TransectError, match=r"folds.csv cannot be read"):
        leaks_of(run)
    (run / "audit.json").write_text('{"findings": 3}')
    with pytest.raises(TransectError, match="not complete"):
        kept_audit(run)
    (run / "oof").mkdir(exist_ok=True)
    (run / "oof" / "counts.csv").write_bytes(b"\xff\xfe,\n")
    from transect.count.doubts import _table
    from transect.identify.doubts import _answers

    with pytest.raises(TransectError, match="cannot be read"):
        _table(run / "oof" / "counts.csv")
    with pytest.raises(TransectError, match="cannot be read"):
        _answers(RunFolder(run))


def test_names_that_a_spreadsheet_would_run_are_found_again(tmp_path):
    root = write_disc_survey(tmp_path / "s", count=2)
    for folder in ("images", "masks"):
        (root / folder / "p0.png").rename(root / folder / "=p0.png")
        shutil.copy(root / folder / "=p0.png", root / folder / "=p1.png")
    survey = open_survey(root)
    folds = {"=p0.png": 0, "=p1.png": 1, "p1.png": 0}
    kept_run(survey, tmp_path / "run", folds)
    assert set(leaks_of(tmp_path / "run").units) == {"=p0.png", "=p1.png"}


def test_an_audit_can_be_kept_by_hand(tmp_path):
    survey = open_survey(write_disc_survey(tmp_path / "s"))
    keep_audit(audit(survey), survey, tmp_path / "run")
    kept = kept_audit(tmp_path / "run")
    assert kept is not None
    assert kept.report.pictures


def test_both_scores_stand_side_by_side():
    record = {"value": 0.5, "interval": [0.4, 0.6]}
    lines = leak_lines(
        {"as_split": {"dice": record}, "leak_free": {}, "removed": {"a": "copy"},
         "leaks": {"copy": 1}}
    )  # fmt: skip
    assert "0.5000  [0.4000, 0.6000]" in lines[1]
    assert lines[1].endswith("-")
    assert any("nothing is left" in line for line in lines)
