from pathlib import Path

import numpy as np
import pytest

from transect.audit import AuditReport, Link, leak_free, propose_groups, write_groups
from transect.types import Image


def image(name: str, group: str | None = None) -> Image:
    return Image(name, Path(name), (8, 8), 3, group=group)


def test_groups_join_what_is_linked_and_keep_what_is_there():
    images = [
        image("a"),
        image("b", "site1"),
        image("c", "site2"),
        image("d"),
        image("e"),
        image("f"),
    ]
    links = [Link("a", "b", "copy", 1.0), Link("b", "c", "crop", 0.9), Link("d", "e", "copy", 1.0)]
    groups = propose_groups(links, images)
    assert groups == {"a": "site1", "c": "site1", "d": "together-0001", "e": "together-0001"}


def test_images_that_share_a_group_with_a_linked_one_move_with_it():
    images = [image("a", "x"), image("b", "y"), image("c", "y")]
    assert propose_groups([Link("a", "b", "copy", 1.0)], images) == {"b": "x", "c": "x"}


def test_groups_are_written_beside_the_other_columns(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "images" / name).write_bytes(b"x")
    (tmp_path / "images.csv").write_text("image,depth\nimages/a.png,4\nc,5\n")
    report = AuditReport((), groups={"a.png": "g", "b.png": "g"})
    write_groups(report, tmp_path)
    text = (tmp_path / "images.csv").read_text()
    assert text == "image,depth,group\nimages/a.png,4,g\nc,5,\nb.png,,g\n"
    write_groups(report, tmp_path)
    assert (tmp_path / "images.csv").read_text() == text


def test_a_group_that_is_a_formula_is_written_as_text(tmp_path):
    (tmp_path / "images").mkdir()
    write_groups(AuditReport((), groups={"a.png": "=1+1"}), tmp_path)
    assert "'=1+1" in (tmp_path / "images.csv").read_text()


def test_the_leak_free_score_leaves_out_images_with_a_twin_in_another_fold():
    values = np.array([1.0, 1.0, 0.5, 0.7, np.nan])
    found = leak_free(values, np.array([[0, 1], [2, 3]]), np.array([0, 1, 2, 2, 0]))
    assert found["removed"] == 2
    assert found["as_split"] == pytest.approx(0.8)
    assert found["leak_free"] == pytest.approx(0.6)
    assert found["kept"].tolist() == [False, False, True, True, False]


def test_without_leaks_both_scores_agree():
    found = leak_free(np.array([0.2, 0.4]), np.zeros((0, 2), int), np.array([0, 1]))
    assert found["as_split"] == found["leak_free"] == pytest.approx(0.3)
