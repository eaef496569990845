"""One matcher for the names that tools, spreadsheets and other computers give to pictures."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transect.data.names import Matcher, bare_stem, clean_name, output_stems

FOLDERS = ["S1/IMG_0001.JPG", "S1/IMG_0002.JPG"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg", "./a.jpg"),
        ("a.jpg", "images/a.jpg"),
        ("a.jpg", "a"),
        ("a.jpg", "a.JPG"),
        ("a.jpg", "A.jpg"),
        ("a.png", "a.tif"),
        ("s/a.jpg", "s\\a.jpg"),
        ("a.jpg", " a.jpg "),
        ("Müller Süd.jpg", unicodedata.normalize("NFD", "Müller Süd.jpg")),
        (unicodedata.normalize("NFD", "Müller Süd.jpg"), "Müller Süd.jpg"),
        ("cb0618f6-trap one.png", "..\\..\\label-studio\\media\\upload\\4\\cb0618f6-trap one.png"),
        ("trap one.png", "/data/upload/4/cb0618f6-trap_one.png"),
        ("a (1).jpg", "cb0618f6-a_1.jpg"),
        ("cb0618f6-a.jpg", "a.jpg"),
        ("a b.jpg", "/data/local-files/?d=site%201/a%20b.jpg"),
        ("a b.jpg", "https://bucket.example.org/x/a%20b.jpg?X-Amz-Date=2024#top"),
        ("a.jpg", "s3://bucket/flight/a.jpg"),
        ("a.jpg", "file:///C:/photos/a.jpg"),
        ("a.jpg", "C:\\Users\\me\\photos\\a.jpg"),
        ("a.jpg", "\\\\server\\share\\a.jpg"),
        ("s/a.jpg", "/home/me/survey/images/s/a.jpg"),
        ("IMG 1.JPG", "IMG_1_JPG.rf.0f3c1de0aa31b7c2d4e5f60718293a4b.jpg"),
        ("a.jpg", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6_a.jpg"),
        ("000123.jpg", "123"),
        ("000123.jpg", "123.0"),
        ("site/000123.jpg", "123"),
        ("site/a.jpg", "a.jpg"),
        ("north/site/a.jpg", "site/a.jpg"),
        ("a#1?.jpg", "a#1?.jpg"),
        ("100%.jpg", "100%.jpg"),
    ],
)
def test_one_image_is_found_by(name, text):
    assert Matcher([name, "other.jpg"] if "/" not in name else [name, "o/o.jpg"]).find(text) == name


def test_a_path_into_another_folder_means_none_of_ours():
    found = Matcher(FOLDERS).all(["S1/IMG_0001.JPG", "S2/IMG_0001.JPG", "S2/IMG_0002.JPG"])
    assert found.found == {"S1/IMG_0001.JPG": "S1/IMG_0001.JPG"}
    assert set(found.refused) == {"S2/IMG_0001.JPG", "S2/IMG_0002.JPG"}
    assert "S1/IMG_0001.JPG lies in another folder" in found.refused["S2/IMG_0001.JPG"]
    assert found.doubtful == set()
    assert Matcher([*FOLDERS, "IMG_0009.JPG"]).find("S2/IMG_0009.JPG") is None
    assert Matcher(FOLDERS).find("/data/S2/IMG_0001.JPG") is None


def test_the_folder_itself_may_stand_before_a_name():
    matcher = Matcher(["b.jpg", "T/c.jpg"], folder=Path("/data/S1"))
    assert matcher.find("S1/b.jpg") == "b.jpg"
    assert matcher.find("S2/b.jpg") is None


def test_a_base_name_that_several_images_have_is_refused_by_both_names():
    matcher = Matcher(["S1/a.jpg", "S2/a.jpg"])
    assert matcher.find("a.jpg") is None
    assert matcher.why("a.jpg") == "may mean S1/a.jpg or S2/a.jpg"
    assert matcher.all(["a.jpg"]).doubtful == {"S1/a.jpg", "S2/a.jpg"}
    assert Matcher(["0123.jpg", "00123.jpg"]).find("123") is None
    assert Matcher(["a.jpg", "a.png"]).find("a") is None


def test_several_names_of_one_image_are_refused_by_both_names():
    found = Matcher(["a.jpg"]).all(["aaaaaaaa-a.jpg", "bbbbbbbb-a.jpg"])
    assert found.found == {}
    assert found.refused == {
        "aaaaaaaa-a.jpg": "would mean a.jpg, as 'bbbbbbbb-a.jpg' does",
        "bbbbbbbb-a.jpg": "would mean a.jpg, as 'aaaaaaaa-a.jpg' does",
    }
    assert found.doubtful == {"a.jpg"}
    flat = Matcher(["a.jpg"]).all(["S1/a.jpg", "S2/a.jpg"])
    assert flat.found == {}


def test_its_own_name_keeps_an_image_and_another_casts_doubt():
    found = Matcher(["IMG_1.jpg", "IMG_2.jpg"]).all(["IMG_1.jpg", "IMG_1.JPG", "x/IMG_2.jpg"])
    assert found.found == {"IMG_1.jpg": "IMG_1.jpg", "x/IMG_2.jpg": "IMG_2.jpg"}
    assert found.refused == {"IMG_1.JPG": "would mean IMG_1.jpg, as 'IMG_1.jpg' does"}
    assert found.doubtful == {"IMG_1.jpg"}
    assert found.told == {"x/IMG_2.jpg": "by the end of its path"}


def test_ways_to_write_one_path_are_one_name():
    ways = ["s/a.jpg", "s\\a.jpg", "./s/a.jpg", "images/s/a.jpg", "s/a"]
    assert set(Matcher(["s/a.jpg"]).all(ways).found) == set(ways)


def test_an_image_that_a_misspelt_name_may_mean_is_doubtful():
    names = ["IMG_1.jpg", "IMG_2.jpg", "IMG_3.jpg", "cliff.jpg"]
    found = Matcher(names).all(["IMG_1.jpg", "IMG-3.jgp", "clif.jpg"])
    assert found.doubtful == {"IMG_3.jpg", "cliff.jpg"}
    assert Matcher(["DSC_0012.jpg", "DSC_0013.jpg"]).all(["DSC_0014.jpg"]).doubtful == set()


def test_a_number_that_a_spreadsheet_shortened_is_named():
    matcher = Matcher(["123456789012345.jpg", "b.jpg"])
    assert "shortened" in matcher.why("1.23457E+14")
    assert matcher.all(["1.23457E+14", "b"]).doubtful == {"123456789012345.jpg"}


def test_other_digits_and_other_words_are_no_match():
    matcher = Matcher(["IMG_0012.jpg", "a.jpg"])
    for text in (
        "IMG_12.jpg",
        "IMG_001.jpg",
        "b.jpg",
        "",
        ".",
        "..",
        "/",
        "a.jpg/b.jpg",
        "x" * 9999,
    ):
        assert matcher.find(text) is None, text


@given(st.text(max_size=40))
def test_any_text_is_answered(text):
    found = Matcher(["a.jpg", "s/000.png", "ä b.tif"]).all([text, "s/0", f"https://[{text}"])
    assert set(found.found.values()) <= {"a.jpg", "s/000.png", "ä b.tif"}
    assert set(found.found) | set(found.refused) == {text, "s/0", f"https://[{text}"}


names = st.lists(
    st.tuples(
        st.sampled_from(["", "S1/", "S2/"]), st.from_regex(r"[a-z]{1,3}[0-9]{1,3}", fullmatch=True)
    ),
    min_size=1,
    max_size=8,
    unique=True,
)


@given(
    names, st.sampled_from([str, str.upper, lambda n: n.replace("/", "\\"), lambda n: f"D:/x/{n}"])
)
def test_every_name_finds_its_own_image_and_no_other(parts, change):
    every = [f"{folder}{stem}.jpg" for folder, stem in parts]
    for text, name in Matcher(every).all(map(change, every)).found.items():
        assert text == change(name)


def test_outputs_of_images_that_share_a_stem_keep_apart():
    names = ["a.png", "a.jpg", "A.bmp", "s/a.png", "b.tif", "c.jpg", "c"]
    stems = output_stems(names)
    assert len({stem.casefold() for stem in stems.values()}) == len(names)
    assert (stems["s/a.png"], stems["b.tif"], stems["a.jpg"]) == ("s/a", "b", "a.jpg")


def test_parts_of_names():
    assert clean_name("S1/../S2/./a.jpg") == "S2/a.jpg"
    assert bare_stem("S/2024.06.01_12") == "2024.06.01_12"
