import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transect.errors import TransectError
from transect.folds import folds_once, make_folds, nested_folds, read_folds, write_folds
from transect.recipe import Folds


def frame(n, **columns):
    return pd.DataFrame({"image": [f"{i:05d}.png" for i in range(n)], **columns})


def salt(n, seed=0):
    """Coverage as in the salt survey: 39 % empty, the rest spread over (0, 1]."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < 0.39, 0.0, rng.random(n) ** 1.5)


def spread(folds, member, count):
    """Largest difference, over folds, of the share of rows in ``member`` from the overall one."""
    shares = [member[folds == f].mean() for f in range(count)]
    return max(abs(share - member.mean()) for share in shares)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(300, 900), seed=st.integers(0, 99), count=st.sampled_from([2, 3, 5]))
def test_the_share_of_empty_masks_is_even(n, seed, count):
    coverage = salt(n, seed)
    folds = make_folds(frame(n, coverage=coverage), Folds(count=count, seed=seed))
    one_picture = count / n  # a share cannot be nearer than that
    assert spread(folds, coverage == 0, count) < max(0.01, 1.01 * one_picture)
    sizes = np.bincount(folds, minlength=count)
    assert sizes.max() - sizes.min() <= 2
    means = [coverage[folds == f].mean() for f in range(count)]
    assert max(means) - min(means) < 0.05


def test_several_columns_are_balanced_at_once():
    rng = np.random.default_rng(0)
    n = 1000
    coverage = salt(n)
    depth = rng.uniform(50, 960, n)
    kind = rng.choice(["a", "b", "c"], n, p=[0.8, 0.15, 0.05])
    table = frame(n, coverage=coverage, depth=depth, kind=kind)
    spec = Folds(stratify=("coverage", "depth", "kind"))
    folds = make_folds(table, spec)
    assert spread(folds, coverage == 0, 5) < 0.01
    for name in "abc":
        assert spread(folds, kind == name, 5) < 0.01
    for low in range(50, 950, 150):
        assert spread(folds, (depth >= low) & (depth < low + 150), 5) < 0.03
    assert np.ptp(np.bincount(folds)) <= 4


def test_depth_alone_is_sorted_and_dealt():
    depth = np.array([30.0, 10, 50, 20, 40, 60])
    folds = make_folds(frame(6, depth=depth), Folds(count=3, stratify=("depth",)))
    assert folds.tolist() == [2, 0, 1, 1, 0, 2]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_group_is_never_split(data):
    n = data.draw(st.integers(30, 120))
    count = data.draw(st.integers(2, 4))
    groups = data.draw(
        st.lists(st.sampled_from([*"abcdefghij", "", None]), min_size=n, max_size=n).filter(
            lambda g: len(set(g) - {"", None}) >= count
        )
    )
    table = frame(n, group=groups, coverage=salt(n))
    folds = make_folds(table, Folds(count=count))
    assert set(folds) == set(range(count))
    for name in set(groups) - {"", None}:
        assert len({f for f, g in zip(folds, groups, strict=True) if g == name}) == 1


def test_groups_and_coverage_together():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 15, 150)
    groups = np.repeat(np.arange(150), sizes)
    table = frame(len(groups), group=groups, coverage=salt(len(groups)))
    folds = make_folds(table, Folds())
    empty = (table["coverage"] == 0).to_numpy()
    assert spread(folds, empty, 5) < 0.02
    assert np.ptp(np.bincount(folds)) <= 3
    together = [len(set(folds[groups == g])) for g in range(150)]
    assert set(together) == {1}
    apart = make_folds(table, Folds(group=False))
    assert max(len(set(apart[groups == g])) for g in range(150)) > 1


def test_identities_are_spread_and_the_long_tail_is_dealt_evenly():
    identity = ["w1"] * 10 + ["w2"] * 5 + ["w3"] * 2 + [f"s{i}" for i in range(33)]
    table = frame(50, identity=identity)
    folds = make_folds(table, Folds(stratify=("identity",)))
    assert np.bincount(folds[:10]).tolist() == [2] * 5
    assert np.bincount(folds[10:15]).tolist() == [1] * 5
    assert folds[15] != folds[16]
    assert set(np.bincount(folds[17:])) <= {6, 7}
    assert np.bincount(folds).tolist() == [10] * 5


def test_counts_and_classes_with_missing_cells():
    count = [0, 0, np.nan, np.nan, 3, 3, 100, 100]
    table = frame(8, count=count, **{"class": ["", "", "a", "a", "b", "b", None, None]})
    folds = make_folds(table, Folds(count=2, stratify=("count", "class")))
    assert all(folds[i] != folds[i + 1] for i in range(0, 8, 2))


@pytest.mark.parametrize("column", ["coverage", "count"])
def test_folds_depend_on_seed_and_nothing_else(column):
    table = frame(200, **{column: salt(200)})
    spec = Folds(stratify=(column,))
    first = make_folds(table, spec)
    np.testing.assert_array_equal(first, make_folds(table.copy(), spec))
    other = make_folds(table, Folds(stratify=(column,), seed=1))
    assert (first != other).any()


def test_without_columns_folds_are_random_and_even():
    folds = make_folds(frame(103), Folds(stratify=()))
    assert sorted(np.bincount(folds)) == [20, 20, 21, 21, 21]
    assert (np.diff(folds[:20]) != 0).any()


def test_what_cannot_be_divided_is_explained():
    with pytest.raises(TransectError, match="5 folds need at least 5 labelled images; there are 3"):
        make_folds(frame(3, coverage=[0, 1, 1]), Folds())
    table = frame(9, coverage=salt(9), group=list("aaabbbccc"))
    with pytest.raises(TransectError, match=r"5 groups, and images.csv names 3.*folds.count=3"):
        make_folds(table, Folds())
    with pytest.raises(TransectError, match="must be at least 2; got 1"):
        make_folds(table, Folds(count=1))
    with pytest.raises(TransectError, match="asks for depth, which this survey does not have"):
        make_folds(table, Folds(count=2, stratify=("depth",)))
    with pytest.raises(TransectError, match="Did you mean 'coverage'"):
        make_folds(table, Folds(count=2, stratify=("coverag",)))


def test_nested_folds_leave_the_held_fold_alone():
    table = frame(100, coverage=salt(100), group=[i // 4 for i in range(100)])
    outer = make_folds(table, Folds())
    inner = nested_folds(table, outer, Folds(count=3), held=2)
    assert ((inner == -1) == (outer == 2)).all()
    assert set(inner[outer != 2]) == {0, 1, 2}
    other = nested_folds(table, outer, Folds(count=3, seed=5), held=2)
    assert (inner != other).any()


# --- the file -------------------------------------------------------------------------------


def test_folds_are_written_once_and_then_respected(tmp_path):
    path = tmp_path / "folds.csv"
    table = frame(50, coverage=salt(50))
    first = folds_once(path, table, Folds())
    assert path.read_text().splitlines()[:2] == ["image,fold", f"00000.png,{first[0]}"]
    np.testing.assert_array_equal(folds_once(path, table, Folds(seed=9)), first)
    some = table.iloc[::-2].reset_index(drop=True)
    np.testing.assert_array_equal(read_folds(path, some["image"].tolist()), first[::-2])
    with pytest.raises(TransectError, match="has 5 folds, numbered up to 4, and the recipe asks"):
        folds_once(path, table, Folds(count=4))
    more = frame(52, coverage=salt(52))
    with pytest.raises(TransectError, match=r"2 of 52 images have no fold .*first: 00050.png"):
        folds_once(path, more, Folds())


def test_names_that_spreadsheets_would_run_survive(tmp_path):
    names = ["=cmd.png", "-1.png", 'a,"b.png', "ü.png"]
    write_folds(tmp_path / "folds.csv", names, np.array([0, 1, 0, 1]))
    assert "\n'=cmd.png" in (tmp_path / "folds.csv").read_text(encoding="utf-8")
    assert read_folds(tmp_path / "folds.csv", names).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "needs the header"),
        ("a,b\n", "needs the header"),
        ("image,fold\na.png,x\n", "line 2 must be an image and the number"),
        ("image,fold\na.png\n", "line 2 must be an image and the number"),
        ("image,fold\na.png,-1\n", "line 2 must be an image and the number"),
        ("image,fold\na.png,0\na.png,1\n", "a second fold"),
    ],
)
def test_damaged_tables_of_folds_are_explained(tmp_path, text, what):
    (tmp_path / "folds.csv").write_text(text)
    with pytest.raises(TransectError, match=what):
        read_folds(tmp_path / "folds.csv", ["a.png"])


def test_an_unreadable_table_is_explained(tmp_path):
    (tmp_path / "folds.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(TransectError, match="cannot be read"):
        read_folds(tmp_path / "folds.csv", ["a.png"])


def test_a_fold_number_beyond_any_is_refused(tmp_path):
    (tmp_path / "folds.csv").write_text("image,fold\na.png,99999999999999999999\n")
    with pytest.raises(TransectError, match="the number of its fold"):
        read_folds(tmp_path / "folds.csv", ["a.png"])


def test_what_strips_as_white_space_is_none_for_a_number(tmp_path):
    (tmp_path / "folds.csv").write_text("image,fold\na.png,1\t\x1c\n")
    assert read_folds(tmp_path / "folds.csv", ["a.png"]).tolist() == [1]
