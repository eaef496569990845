"""Run-length codes against hand-worked values, slow loops and, where installed, pycocotools."""

import contextlib
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transect.data import rle
from transect.errors import TransectError


def slow_encode(mask):
    """The loop that everyone copies from the competition's forum."""
    pixels = np.concatenate([[0], mask.T.flatten().astype(np.uint8), [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return " ".join(str(x) for x in runs)


def slow_decode(text, size_hw):
    flat = np.zeros(size_hw[0] * size_hw[1], bool)
    numbers = [int(v) for v in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(size_hw[1], size_hw[0]).T


def masks_of(seed, n, height, width):
    rng = np.random.default_rng(seed)
    share = rng.random((n, 1, 1)) * 1.4 - 0.2
    return rng.random((n, height, width)) < share


def test_the_vector_of_the_design():
    mask = np.array([[0, 1, 1], [1, 1, 0]])
    assert rle.encode(mask) == "2 4"
    np.testing.assert_array_equal(rle.decode("2 4", (2, 3)), mask)


def test_empty_and_full():
    assert rle.encode_many(np.zeros((2, 4, 5), bool)) == ["", ""]
    assert rle.encode_many(np.ones((2, 4, 5), bool)) == ["1 20", "1 20"]
    assert rle.decode("1 20", (4, 5)).all()
    assert not rle.decode("", (4, 5)).any()


def test_nothing_at_all():
    assert rle.encode_many(np.zeros((0, 4, 5), bool)) == []
    assert rle.encode_many(np.zeros((2, 0, 5), bool)) == ["", ""]
    assert rle.decode_many([], (4, 5)).shape == (0, 4, 5)
    assert rle.decode_many([""], (0, 3)).shape == (1, 0, 3)
    assert rle.counts_of(np.zeros((0, 3), bool)) == [0]


def test_masks_as_0_and_255_and_as_views():
    masks = masks_of(1, 6, 9, 7)
    wanted = [slow_encode(m) for m in masks]
    assert rle.encode_many(masks.astype(np.uint8) * 255) == wanted
    assert rle.encode_many(masks.astype(np.int64) * 3) == wanted
    turned = np.asfortranarray(masks)
    assert rle.encode_many(turned) == wanted
    assert rle.encode_many(masks[:, ::2, ::-1]) == [slow_encode(m) for m in masks[:, ::2, ::-1]]


@given(st.integers(0, 2**32), st.integers(0, 9), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_agrees_with_the_slow_loops(seed, n, height, width):
    masks = masks_of(seed, n, height, width)
    texts = rle.encode_many(masks)
    assert texts == [slow_encode(m) for m in masks]
    decoded = rle.decode_many(texts, (height, width))
    np.testing.assert_array_equal(decoded, masks)
    for text, mask in zip(texts, masks, strict=True):
        np.testing.assert_array_equal(slow_decode(text, (height, width)), mask)
        counts = rle.counts_of(mask)
        assert sum(counts) == mask.size
        np.testing.assert_array_equal(rle.mask_of_counts(counts, (height, width)), mask)
        assert rle.decompress_counts(rle.compress_counts(counts)) == counts


def test_many_chunks_and_a_large_mask(monkeypatch):
    masks = masks_of(2, 40, 11, 13)
    wanted = [slow_encode(m) for m in masks]
    monkeypatch.setattr(rle, "_CHUNK_PX", 400)
    assert rle.encode_many(masks) == wanted
    np.testing.assert_array_equal(rle.decode_many(wanted, (11, 13)), masks)
    monkeypatch.setattr(rle, "_TABLE_PX", 100)
    assert rle.encode_many(masks) == wanted


def test_runs_that_touch_are_accepted():
    np.testing.assert_array_equal(rle.decode("1 2 3 2", (4, 1))[:, 0], [1, 1, 1, 1])
    np.testing.assert_array_equal(rle.decode("  2   1  ", (4, 1))[:, 0], [0, 1, 0, 0])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1", "1 numbers"),
        ("1 2 3", "3 numbers"),
        ("a b", "'a'"),
        ("1 -2", "'-'"),
        ("1,2", "','"),
        ("0 2", "start at 1"),
        ("3 0", "start at 1"),
        ("20 2", "leaves the 20 pixels"),
        ("5 2 1 1", "before the last one ended"),
        ("1 3 2 1", "before the last one ended"),
        ("1 99999999999999999999", "beyond any mask"),
        ("1 2\n3 4", "line break"),
        ("\u0661 2", "not an RLE"),
    ],
)
def test_malformed_codes_say_where(text, says):
    with pytest.raises(TransectError, match=r"b\.png") as caught:
        rle.decode_many(["1 2", text, ""], (4, 5), names=["a.png", "b.png", "c.png"])
    assert says in str(caught.value)


def test_sizes_are_checked_before_anything_is_allocated():
    with pytest.raises(TransectError, match="million"):
        rle.decode("1 2", (10**6, 10**6))
    with pytest.raises(TransectError, match="million"):
        rle.mask_of_counts([10**12], (10**6, 10**6))


def test_masks_must_be_masks():
    with pytest.raises(TransectError, match="bool or integers"):
        rle.encode_many(np.zeros((2, 3, 3)))
    with pytest.raises(TransectError, match=r"\(N, H, W\)"):
        rle.encode_many(np.zeros((3, 3), bool))


@pytest.mark.parametrize(
    "counts", [[1, -1, 20], [3.5, 16.5], [19], [10**13], ["1"], [[20]], [2**80]]
)
def test_counts_must_fit(counts):
    with pytest.raises(TransectError, match="counts"):
        rle.mask_of_counts(counts, (4, 5))


@given(st.lists(st.integers(0, 2**40), max_size=12))
@settings(max_examples=60, deadline=None)
def test_compressed_counts_come_back(counts):
    assert rle.decompress_counts(rle.compress_counts(counts)) == counts


@given(st.binary(max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_bytes_decompress_or_are_refused(data):
    with contextlib.suppress(TransectError):
        assert min(rle.decompress_counts(data), default=0) >= 0


def test_agrees_with_pycocotools():
    coco = pytest.importorskip("pycocotools.mask")
    for mask in masks_of(3, 50, 17, 9):
        theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        ours = rle.compress_counts(rle.counts_of(mask))
        assert ours.encode() == theirs["counts"]
        counts = rle.decompress_counts(theirs["counts"])
        np.testing.assert_array_equal(rle.mask_of_counts(counts, (17, 9)), mask)


def test_faster_than_the_usual_loop():
    masks = masks_of(4, 1, 101, 101).repeat(300, axis=0)
    masks = np.cumsum(masks, axis=1) % 64 < 30  # runs as salt has them
    times = {"ours": [], "loop": []}
    for _ in range(3):
        for name, work in (
            ("ours", lambda: rle.encode_many(masks)),
            ("loop", lambda: [slow_encode(m) for m in masks]),
        ):
            start = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - start)
    assert min(times["ours"]) <= 0.75 * min(times["loop"])


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_windows_codes_and_counts_agree(seed, height, width):
    (mask,) = masks_of(seed, 1, height, width)
    counts = rle.counts_of(mask)
    assert rle.code_of_counts(counts) == slow_encode(mask)
    assert rle.counts_of_code(slow_encode(mask), (height, width)) == counts
    window, top, left = rle.window_of_counts(counts, (height, width))
    placed = np.zeros_like(mask)
    placed[top : top + window.shape[0], left : left + window.shape[1]] = window
    np.testing.assert_array_equal(placed, mask)
    assert not mask.any() or (
        window.any(axis=0)[[0, -1]].all() and window.any(axis=1)[[0, -1]].all()
    )
    assert rle.counts_of(window, top=top, left=left, size_hw=(height, width)) == counts


def test_runs_that_touch_become_one_count():
    assert rle.counts_of_code("1 2 3 2 6 1", (3, 3)) == [0, 4, 1, 1, 3]
    assert rle.counts_of_code("8 1 9 1", (3, 3)) == [7, 2]


def test_a_window_must_lie_in_its_picture():
    with pytest.raises(TransectError, match="leaves its picture"):
        rle.counts_of(np.ones((2, 2), bool), top=2, left=0, size_hw=(3, 3))
