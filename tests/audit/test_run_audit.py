import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from tests.audit import planted
from transect.audit import audit, write_groups
from transect.errors import TransectError


def kinds(report) -> set[str]:
    return {f.kind for f in report.findings if f.severity != "note"}


def about(report, kind: str) -> set[str]:
    return {n for f in report.findings if f.kind == kind for n in f.images}


@pytest.fixture(scope="module")
def seg(tmp_path_factory) -> Path:
    return planted.segment_survey(tmp_path_factory.mktemp("seg"), 30)


def copy_of(root: Path, to: Path) -> Path:
    import shutil

    shutil.copytree(root, to)
    return to


@pytest.mark.parametrize("make", ["segment_survey", "count_survey", "identify_survey"])
def test_a_clean_survey_gives_no_alarm(make, tmp_path):
    report = audit(getattr(planted, make)(tmp_path / "s"))
    assert report.findings == (), report.lines()
    assert report.clean
    assert not report.groups
    assert not report.links


def test_unreadable_and_truncated_pictures_are_named(seg, tmp_path):
    root = copy_of(seg, tmp_path / "s")
    first, second = root / "images" / planted.name(0), root / "images" / planted.name(1)
    first.write_bytes(b"not a picture")
    second.write_bytes(second.read_bytes()[:2000])
    report = audit(root)
    assert {first.name, second.name} <= about(report, "unreadable")
    assert not report.clean


def test_blank_odd_and_lying_pictures_are_named(seg, tmp_path):
    root = copy_of(seg, tmp_path / "s")
    (root / "masks").rename(root / "elsewhere")
    images = root / "images"
    planted.write(images / planted.name(2), np.full((*planted.SIZE_HW, 3), 7, np.uint8))
    rng = np.random.default_rng(9)
    planted.write(images / "odd.png", planted.scene(rng, (50, 50), 1)[0])
    planted.write(images / "lying.png", planted.scene(rng, planted.SIZE_HW[::-1])[0])
    planted.write(images / "grey.png", planted.scene(rng)[0][..., 0])
    report = audit(root)
    assert about(report, "blank") == {planted.name(2)}
    assert about(report, "odd-size") == {"odd.png"}
    assert about(report, "rotated") == {"lying.png"}
    assert "odd-format" not in kinds(report) or about(report, "odd-format") == {"grey.png"}


def test_faults_of_masks_are_named(seg, tmp_path):
    root = copy_of(seg, tmp_path / "s")
    empty, tiny, scattered, moved = (root / "masks" / planted.name(i) for i in range(4))
    planted.write(empty, np.zeros(planted.SIZE_HW, np.uint8))
    labels = cv2.imread(str(tiny), cv2.IMREAD_UNCHANGED)
    around = cv2.dilate(labels, np.ones((5, 5), np.uint8))
    labels[tuple(next(p for p in np.argwhere(around == 0) if min(p) > 5))] = labels.max() + 1
    planted.write(tiny, labels)
    labels = cv2.imread(str(scattered), cv2.IMREAD_UNCHANGED)
    labels[labels == 2] = 1
    labels[labels > 2] -= 1
    planted.write(scattered, labels)
    labels = cv2.imread(str(moved), cv2.IMREAD_UNCHANGED)
    planted.write(moved, np.roll(labels, (7, -6), (0, 1)))
    report = audit(root, question="segment")
    assert about(report, "empty") == {empty.name}
    assert about(report, "tiny") == {tiny.name}
    assert about(report, "scattered") == {scattered.name}
    assert about(report, "shifted-masks") == {moved.name}


def test_masks_that_are_all_shifted_are_one_finding(seg, tmp_path):
    root = copy_of(seg, tmp_path / "s")
    for path in (root / "masks").iterdir():
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        planted.write(path, np.roll(labels, (3, -4), (0, 1)))
    report = audit(root, question="segment")
    found = [f for f in report.findings if f.kind == "shifted-masks"]
    assert len(found) == 1
    assert "-3 rows and 4 columns" in found[0].fix


def test_copies_are_found_and_grouped(seg, tmp_path):
    root = copy_of(seg, tmp_path / "s")
    images, masks = root / "images", root / "masks"
    original = cv2.imread(str(images / planted.name(0)))
    labels = (masks / planted.name(0)).read_bytes()
    (images / "same.png").write_bytes((images / planted.name(0)).read_bytes())
    cv2.imwrite(str(images / "jpeg.jpg"), original, [cv2.IMWRITE_JPEG_QUALITY, 60])
    cv2.imwrite(str(images / "bright.png"), cv2.convertScaleAbs(original, alpha=0.9, beta=15))
    cv2.imwrite(str(images / "mirror.png"), original[:, ::-1])
    for n in ("same", "jpeg", "bright", "mirror"):
        (masks / f"{n}.png").write_bytes(labels)
    report = audit(root, question="segment")
    made = {"same.png", "jpeg.jpg", "bright.png", "mirror.png", planted.name(0)}
    assert about(report, "duplicate") == made
    assert set(report.groups) == made
    assert len(set(report.groups.values())) == 1


def test_one_photo_under_two_names_is_a_fault(tmp_path):
    root = planted.identify_survey(tmp_path / "s")
    images = root / "images"
    (images / "again.png").write_bytes((images / planted.name(0)).read_bytes())
    with (root / "identities.csv").open("a") as handle:
        handle.write("again.png,whale 07,left,2020-01-09\n")
    assert about(audit(root), "two-labels") == {"again.png", planted.name(0)}


def test_class_typos_and_exchanged_coordinates_are_named(tmp_path):
    root = planted.count_survey(tmp_path / "s")
    text = (root / "points.csv").read_text().splitlines()
    text[1] = text[1].replace("adult", "adlut")
    turned = []
    for line in text:
        cells = line.split(",")
        if cells[0] == planted.name(5):
            cells[1], cells[2] = "40", "85"  # outside below; inside if exchanged
        turned.append(",".join(cells))
    (root / "points.csv").write_text("\n".join(turned) + "\n")
    report = audit(root)
    assert about(report, "typo") == {"adlut", "adult"}
    assert about(report, "swapped") == {planted.name(5)}


def test_overlapping_dots_and_forgotten_images_are_named(tmp_path):
    root = planted.count_survey(tmp_path / "s")
    lines = (root / "points.csv").read_text().splitlines()
    cells = lines[1].split(",")
    lines.append(f"{cells[0]},{int(cells[1]) + 1},{cells[2]},{cells[3]}")
    lines = [line for line in lines if not line.startswith(planted.name(3))]
    (root / "points.csv").write_text("\n".join(lines) + "\n")
    report = audit(root)
    assert about(report, "overlapping") == {cells[0]}
    assert about(report, "empty") == {planted.name(3)}


def test_tiles_across_folds_are_a_leak_that_groups_close(tmp_path):
    root = planted.segment_survey(tmp_path / "s", 20)
    big, labels, _ = planted.scene(np.random.default_rng(5), (3 * 72, 2 * 96), 12)
    tiles = {}
    for r in range(3):
        for c in range(2):
            tile = f"{'qwertz'[2 * r + c]}.png"
            cut = np.s_[r * 72 : r * 72 + 72, c * 96 : c * 96 + 96]
            planted.write(root / "images" / tile, big[cut])
            planted.write(root / "masks" / tile, labels[cut])
            tiles[tile] = (r, c)
    names = sorted(p.name for p in (root / "images").iterdir())
    planted.table(root / "folds.csv", ["image", "fold"], [[n, i % 2] for i, n in enumerate(names)])
    report = audit(root, question="segment", folds=root / "folds.csv")
    assert dict(report.mosaics[0]) == tiles
    assert len(report.mosaics) == 1
    assert about(report, "leak")
    assert about(report, "leak") <= set(tiles)
    assert set(report.groups) == set(tiles)
    assert report.pictures["mosaic 1"].startswith(b"\x89PNG")

    (root / "images.csv").write_text(f"image,depth,note\n{names[0]},3.5,=hello\n")
    write_groups(report, root)
    table = pd.read_csv(root / "images.csv", dtype=str, keep_default_na=False)
    assert set(table.columns) == {"image", "depth", "note", "group"}
    assert table["depth"].iloc[0] == "3.5"
    folds = dict.fromkeys(names, 0)
    again = audit(root, question="segment", folds=folds)
    assert not about(again, "leak")
    assert not again.groups


def test_crops_of_one_photo_are_found(tmp_path):
    root = planted.segment_survey(tmp_path / "s", 12)
    (root / "masks").rename(root / "elsewhere")
    big, _, _ = planted.scene(np.random.default_rng(6), (300, 400), 60)
    planted.write(root / "images" / "wide.png", big[20:260, 30:330])
    planted.write(root / "images" / "close.png", big[80:240, 100:300])
    report = audit(root)
    assert [(k.first, k.second) for k in report.links if k.kind == "crop"] == [
        ("close.png", "wide.png")
    ]


def test_one_background_behind_two_individuals_is_found(tmp_path):
    root = planted.identify_survey(tmp_path / "s", 8, 2)
    rng = np.random.default_rng(77)
    behind, _, _ = planted.scene(rng, blobs=0)
    for i in (0, 4):
        front, _, _ = planted.scene(rng, (36, 48), 2)
        shown = behind.copy()
        shown[18:54, 24:72] = front
        planted.write(root / "images" / planted.name(i), shown)
    report = audit(root)
    pair = tuple(sorted((planted.name(0), planted.name(4))))
    assert [(k.first, k.second) for k in report.links if k.kind == "background"] == [pair]


def test_encounters_groups_and_flanks_across_folds_are_leaks(tmp_path):
    root = planted.identify_survey(tmp_path / "s", 10, 3)
    table = pd.read_csv(root / "identities.csv")
    first = table["identity"] == "whale 00"
    table.loc[first, "date"] = "2020-01-01"
    table["group"] = ""
    table.loc[table["identity"] == "whale 01", "group"] = "bay"
    table.to_csv(root / "identities.csv", index=False)
    folds = {n: i % 3 for i, n in enumerate(table["image"])}
    report = audit(root, folds=folds)
    assert about(report, "leak-encounter") == set(table.loc[first, "image"])
    assert about(report, "leak-flanks") >= set(table.loc[first, "image"])
    assert about(report, "leak-group") == set(table.loc[table["group"] == "bay", "image"])


def test_an_uneven_fold_is_named(seg):
    names = sorted(p.name for p in (seg / "images").iterdir())
    objects = {n: int(cv2.imread(str(seg / "masks" / n), -1).max()) for n in names}
    report = audit(seg, question="segment", folds={n: int(objects[n] > 4) for n in names})
    assert "uneven-folds" in kinds(report)


def test_new_pictures_of_another_scale_are_told_with_reasons(seg, tmp_path):
    new = tmp_path / "new"
    for i in range(24):
        rng = np.random.default_rng(500 + i)
        picture = cv2.resize(planted.scene(rng, (36, 48), 2)[0], (96, 72))
        planted.write(new / f"n{i}.png", picture)
    report = audit(seg, new, question="segment")
    assert {"shift", "scale"} <= kinds(report)
    assert report.facts["shift"]["auroc"] > 0.9
    assert 1.4 < report.facts["shift"]["scale"] < 2.6
    assert np.mean(list(report.weights.values())) == pytest.approx(1.0)


def test_new_pictures_of_the_same_sort_give_no_alarm(seg, tmp_path):
    other = planted.segment_survey(tmp_path / "other", 24, seed=99)
    report = audit(seg, other / "images", question="segment")
    assert report.findings == ()
    assert report.facts["shift"]["interval"][0] < 0.6


def test_a_picture_of_the_survey_among_the_new_is_a_leak(seg, tmp_path):
    other = planted.segment_survey(tmp_path / "other", 8, seed=98) / "images"
    (other / "x.png").write_bytes((seg / "images" / planted.name(4)).read_bytes())
    assert about(audit(seg, other, question="segment"), "leak") == {planted.name(4)}


def test_the_report_is_json_and_lines(seg):
    report = audit(seg, question="segment", next_count=3)
    assert json.loads(json.dumps(report.to_json()))["clean"] is True
    assert report.lines()[0].endswith("nothing found")
    assert len(set(report.next_images)) == 3


def test_a_folder_without_pictures_or_folds_is_an_error(seg, tmp_path):
    with pytest.raises(TransectError, match="does not exist"):
        audit(tmp_path / "none")
    with pytest.raises(TransectError, match="does not exist"):
        audit(seg, folds=tmp_path / "folds.csv", question="segment")


def test_the_report_page_takes_an_audit(seg, tmp_path):
    from transect.report.page import Page

    page = Page("audit")
    audit(seg, question="segment").fill(page)
    page.write(tmp_path / "audit.html")
    assert "nothing found" in (tmp_path / "audit.html").read_text()


def test_dots_outside_their_picture_are_named(tmp_path):
    root = planted.count_survey(tmp_path / "s")
    with (root / "points.csv").open("a") as handle:
        handle.write(f"{planted.name(4)},500,500,adult\n")
    report = audit(root)
    assert not report.clean
    assert any("outside" in f.text or "outside" in f.fix for f in report.findings)


def test_names_of_sexes_and_ages_are_no_misspellings(tmp_path):
    from transect.simulate.colony import write_colony_survey

    root = write_colony_survey(
        tmp_path / "s", n_train=8, n_test=2, seed=2, size_hw=(96, 128), scale=0.25, animals=12
    )
    assert not about(audit(root), "typo")


def test_a_tile_that_fits_no_mosaic_is_passed_over(tmp_path, monkeypatch):
    from transect.audit import Seam, pairs

    root = planted.segment_survey(tmp_path / "s", 6)
    seams = (Seam(0, 1, False, 0.9), Seam(0, 2, True, 0.8), Seam(1, 3, True, 0.7))
    wrong = Seam(4, 3, False, 0.6)  # 4 would lie where 2 lies
    monkeypatch.setattr(pairs, "find_seams", lambda prints: (*seams, wrong))
    links = [k for k in audit(root).links if k.kind == "adjoining"]
    assert len(links) == 3
