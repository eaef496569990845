"""The competitions' files, byte for byte against slow references."""

import numpy as np
import pandas as pd
import pytest

from tests.data.test_rle import masks_of, slow_encode
from transect.data.predictions import from_identities, from_labels, from_points
from transect.data.submission import write_counts, write_identities, write_masks
from transect.errors import TransectError


def test_masks_equal_the_slow_reference_and_stream(tmp_path):
    masks = masks_of(0, 20, 13, 11)
    names = [f"{i:03d}.png" for i in range(20)]
    taken = []

    def batches():
        for i in range(0, 20, 8):
            taken.append(i)
            yield names[i : i + 8], masks[i : i + 8]

    assert write_masks(tmp_path / "f.csv", batches()) == 20
    assert taken == [0, 8, 16]
    rows = "".join(f"{n[:-4]},{slow_encode(m)}\n" for n, m in zip(names, masks, strict=True))
    assert (tmp_path / "f.csv").read_bytes() == f"id,rle_mask\n{rows}".encode()


def test_a_failure_leaves_the_old_file(tmp_path):
    (tmp_path / "f.csv").write_text("old")
    with pytest.raises(TransectError, match="twice"):
        write_masks(tmp_path / "f.csv", [(["a.png", "a.png"], np.zeros((2, 3, 3), bool))])
    with pytest.raises(TransectError, match="1 names and 2 masks"):
        write_masks(tmp_path / "f.csv", [(["a.png"], np.zeros((2, 3, 3), bool))])
    assert [p.name for p in tmp_path.iterdir()] == ["f.csv"]
    assert (tmp_path / "f.csv").read_text() == "old"


def test_counts(tmp_path):
    counts = [[1.25, -0.5], [3, 10]]
    write_counts(tmp_path / "f.csv", ["0.jpg", "1.jpg"], counts, ["males", "pups"])
    assert (tmp_path / "f.csv").read_text() == "test_id,males,pups\n0,1.25,0\n1,3,10\n"
    write_counts(tmp_path / "f.csv", ["0.jpg"], [[1.6]], ["n"], id_column="id", whole=True)
    assert (tmp_path / "f.csv").read_text() == "id,n\n0,2\n"
    for wrong in ([[1.0]], [[np.nan, 1.0]]):
        with pytest.raises(TransectError, match="one column per class"):
            write_counts(tmp_path / "f.csv", ["0.jpg"], wrong, ["a", "b"])


def test_identities(tmp_path):
    ranked = [["w_1", "new_whale", "w_3", "w_4", "w_5", "w_6"], ["new_whale"]]
    write_identities(tmp_path / "f.csv", ["a.jpg", "b.jpg"], ranked)
    assert (tmp_path / "f.csv").read_text() == (
        "Image,Id\na.jpg,w_1 new_whale w_3 w_4 w_5\nb.jpg,new_whale\n"
    )
    for wrong in (["a b"], ["a", "a"], [], [""]):
        with pytest.raises(TransectError, match="up to 5 different"):
            write_identities(tmp_path / "f.csv", ["a.jpg"], [wrong])


def test_predictions_become_annotations():
    labels = np.array([[0, 2, 2], [1, 0, 2]], np.uint16)
    found = from_labels([("a.png", labels)], "instances", ["seal"], confidence={"a.png": [0.5, 1]})
    assert [(i.label, i.confidence) for i in found.pictures[0].instances] == [
        ("seal", 0.5),
        ("seal", 1.0),
    ]
    found = from_labels([("a.png", labels)], "classes", ["seal", "pup"])
    assert [i.label for i in found.pictures[0].instances] == ["seal", "pup"]
    with pytest.raises(TransectError, match="label 2"):
        from_labels([("a.png", labels)], "classes", ["seal"])
    table = pd.DataFrame({"image": ["a"], "x": [1.0], "y": [2.0], "class": ["seal"]})
    found = from_points(table, {"a": (3, 4), "b": (3, 4)}, ["seal"])
    assert [len(p.instances) for p in found.pictures] == [1, 0]
    table = pd.DataFrame({"image": ["a"], "identity": ["w"], "confidence": [0.25]})
    (picture,) = from_identities(table).pictures
    assert (picture.instances[0].identity, picture.instances[0].confidence) == ("w", 0.25)
