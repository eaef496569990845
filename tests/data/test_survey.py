import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from transect.data.describe import changed_files
from transect.data.folder import list_images
from transect.data.masks import centroids
from transect.data.survey import (
    fingerprint,
    fold_table,
    mask_labels,
    open_survey,
    survey_summary,
    without_images,
)
from transect.errors import TransectError
from transect.types import Problem


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array)).save(path)
    return path


def disc(size, x, y, radius):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


@pytest.fixture
def folder(tmp_path):
    """Four photos, 40 high and 60 wide."""
    rng = np.random.default_rng(0)
    for i in range(4):
        save(tmp_path / "images" / f"{i}.png", rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))
    return tmp_path


@pytest.fixture
def masked(folder):
    for i in range(4):
        mask = disc((40, 60), 20, 20, 3 * i).astype(np.uint8) if i else np.zeros((40, 60), np.uint8)
        save(folder / "masks" / f"{i}.png", mask * 255)
    return folder


def points(folder, text):
    (folder / "points.csv").write_text(text)
    return folder


# --- the question ---------------------------------------------------------------------------


def test_the_question_is_read_from_what_is_there(masked):
    assert open_survey(masked).question == "segment"
    points(masked, "image,x,y\n0.png,1,2\n")
    assert open_survey(masked).question == "segment"
    assert open_survey(masked, question="count").question == "count"
    shutil.rmtree(masked / "masks")
    assert open_survey(masked).question == "count"
    (masked / "points.csv").unlink()
    (masked / "identities.csv").write_text(
        "image,identity\n" + "\n".join(f"{i},a" for i in range(4))
    )
    assert open_survey(masked).question == "identify"


def test_without_annotations_the_sentence_says_what_to_add(folder):
    with pytest.raises(TransectError, match="no annotations: neither masks/ nor"):
        open_survey(folder)
    with pytest.raises(TransectError, match=r"cannot be asked to identify: it has no identities"):
        open_survey(folder, question="identify")
    with pytest.raises(TransectError, match="Did you mean 'segment'"):
        open_survey(folder, question="segmant")


def test_pictures_outside_images_are_noticed(tmp_path):
    save(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(TransectError, match="no folder images/; its 1 pictures lie elsewhere"):
        open_survey(tmp_path)
    with pytest.raises(TransectError, match="is not a folder"):
        open_survey(tmp_path / "a.png")


# --- masks ----------------------------------------------------------------------------------


def test_binary_masks(masked):
    survey = open_survey(masked)
    assert (survey.mask_kind, survey.classes, survey.class_values) == (
        "binary",
        ("foreground",),
        (255,),
    )
    assert mask_labels(survey, "3.png").sum() == disc((40, 60), 20, 20, 9).sum()
    assert survey.problems == ()
    table = fold_table(survey)
    assert table["coverage"].tolist() == [
        disc((40, 60), 20, 20, 3 * i).mean() if i else 0.0 for i in range(4)
    ]


def test_masks_match_with_any_suffix_and_in_subfolders(folder):
    for i in range(3):
        save(folder / "masks" / f"{i}.tif", np.eye(40, 60, dtype=np.uint8))
    shutil.move(folder / "images" / "3.png", folder / "images" / "0_3.png")
    save(folder / "images" / "site" / "0.jpg", np.zeros((8, 8), np.uint8))
    save(folder / "masks" / "site" / "0.bmp", np.eye(8, dtype=np.uint8))
    save(folder / "masks" / "0_3.png", np.eye(40, 60, dtype=np.uint8))
    survey = open_survey(folder)
    assert set(survey.masks) == {"0.png", "1.png", "2.png", "0_3.png", "site/0.jpg"}
    assert mask_labels(survey, "site/0.jpg").sum() == 8


def test_instances_are_told_from_classes(folder):
    for i in range(4):
        mask = np.zeros((40, 60), np.uint16)
        for k in range(i + 2):
            mask[disc((40, 60), 6 + 10 * k, 8 + 5 * k, 4)] = k + 1
        save(folder / "masks" / f"{i}.png", mask)
    survey = open_survey(folder)
    assert survey.mask_kind == "instances"
    assert fold_table(survey)["count"].tolist() == [2, 3, 4, 5]
    counted = open_survey(folder, question="count")
    assert len(counted.points) == 14
    assert counted.points.iloc[1][["x", "y"]].tolist() == [16.0, 13.0]
    assert "14 objects, 2 to 5 an image" in survey_summary(survey)[1]


def test_classes_are_told_from_instances(folder):
    rng = np.random.default_rng(1)
    for i in range(4):
        mask = rng.choice(np.array([0, 1, 2, 5], np.uint8), (5, 6)).repeat(8, 0).repeat(10, 1)
        save(folder / "masks" / f"{i}.png", mask)
    survey = open_survey(folder)
    assert survey.mask_kind == "classes"
    assert survey.classes == ("1", "2", "5")
    assert survey.class_values == (1, 2, 5)
    assert set(np.unique(mask_labels(survey, "0.png"))) == {0, 1, 2, 3}


def test_named_classes_ignored_pixels_and_values_of_no_class(folder):
    for i in range(4):
        mask = np.zeros((40, 60), np.uint8)
        mask[:10], mask[10:20] = 7, 255
        save(folder / "masks" / f"{i}.png", mask)
    save(folder / "masks" / "3.png", np.full((40, 60), 9, np.uint8))
    (folder / "classes.csv").write_text("value,name\n0,background\n7,kelp\n255,void\n")
    survey = open_survey(folder)
    assert (survey.classes, survey.class_values, survey.void_values) == (("kelp",), (7,), (255,))
    assert sorted(np.unique(mask_labels(survey, "0.png"))) == [-1, 0, 1]
    assert [p.name for p in survey.problems] == ["masks/3.png"]
    assert "has the value 9, which is no class (they are 0, 7, 255)" in survey.problems[0].what
    assert [i.name for i in survey.images] == ["0.png", "1.png", "2.png"]
    table = fold_table(survey)
    assert table["coverage"].tolist() == pytest.approx([1 / 3] * 3)
    assert table["class"].tolist() == ["kelp"] * 3
    with pytest.raises(TransectError, match="one number per object"):
        open_survey(folder, question="count")
    (folder / "classes.csv").unlink()
    (folder / "classes.json").write_text('{"7": "kelp", "255": "void", "9": "sand"}')
    assert open_survey(folder).classes == ("kelp", "sand")
    (folder / "classes.json").write_text('{"a": 1}')
    with pytest.raises(TransectError, match="must map mask values to names"):
        open_survey(folder)


def test_soft_edges_are_explained(folder):
    for i in range(4):
        soft = Image.fromarray(disc((40, 60), 20, 20, 12).astype(np.uint8) * 255)
        soft = soft.resize((120, 80), Image.Resampling.BICUBIC).resize((60, 40))
        save(folder / "masks" / f"{i}.png", np.asarray(soft))
    with pytest.raises(TransectError, match=r"one number per class; \d+ greys are in .*JPEG"):
        open_survey(folder)


def test_missing_masks_are_refused_or_taken_as_said(masked):
    (masked / "masks" / "2.png").unlink()
    (masked / "masks" / "1.png").unlink()
    with pytest.raises(TransectError) as caught:
        open_survey(masked)
    assert str(caught.value).startswith("2 of 4 images have no mask (first: 1.png). Add them to ")
    empty = open_survey(masked, missing="empty")
    assert len(empty.training()) == 4
    assert mask_labels(empty, "1.png").sum() == 0
    assert fold_table(empty)["coverage"].tolist()[1] == 0
    apart = open_survey(masked, missing="unlabelled")
    assert [i.name for i in apart.training()] == ["0.png", "3.png"]
    (masked / "images.csv").write_text("image,split\n1,test\n2,TEST\n")
    assert [i.name for i in open_survey(masked).training()] == ["0.png", "3.png"]
    with pytest.raises(TransectError, match="missing must be one of empty, unlabelled"):
        open_survey(masked, missing="none")


def test_broken_files_are_left_out_and_listed(masked):
    (masked / "images" / "0.png").write_bytes(b"")
    (masked / "images" / "notes.docx").write_bytes(b"x")
    data = (masked / "masks" / "1.png").read_bytes()
    (masked / "masks" / "1.png").write_bytes(data[: len(data) // 2])
    save(masked / "masks" / "2.png", np.zeros((60, 40), np.uint8))
    save(masked / "masks" / "stray.png", np.zeros((60, 40), np.uint8))
    survey = open_survey(masked)
    assert [i.name for i in survey.images] == ["3.png"]
    said = {p.name: p.what for p in survey.problems}
    assert set(said) == {"0.png", "notes.docx", "masks/1.png", "masks/2.png", "masks/stray.png"}
    assert "zero bytes" in said["0.png"]
    assert "truncated" in said["masks/1.png"]
    assert "is 60 x 40 and its image 40 x 60" in said["masks/2.png"]
    assert "turned by 90 degrees" in said["masks/2.png"]
    assert "5 problems" in survey_summary(survey)[-1]
    (masked / "images" / "3.png").write_bytes(b"")
    with pytest.raises(TransectError, match=r"none of the masks|no image left|no mask in"):
        open_survey(masked)


def test_masks_with_other_names_are_explained(masked):
    for i in range(4):
        (masked / "masks" / f"{i}.png").rename(masked / "masks" / f"q{i}.png")
    with pytest.raises(TransectError, match=r"no mask in .* has the name of an image .masks/q0"):
        open_survey(masked)


def test_one_mask_for_two_images_of_a_name_is_not_guessed(masked):
    save(masked / "images" / "0.jpg", np.zeros((40, 60), np.uint8))
    save(masked / "images" / "1.bmp", np.zeros((40, 60), np.uint8))
    (masked / "masks" / "1.png").rename(masked / "masks" / "1.tif")
    survey = open_survey(masked, missing="unlabelled")
    assert sorted({p.name for p in survey.problems}) == ["0.jpg", "masks/1.tif"]
    assert {i.name for i in survey.training()} == {"0.png", "2.png", "3.png"}
    assert {i.name for i in open_survey(masked, missing="empty").training()} == {
        *("0.png", "2.png", "3.png")
    }


def test_the_table_of_images_weighs_them(masked):
    (masked / "images.csv").write_text("image,weight\n0.png,0.25\n1.png,-1\n2.png,inf\n3.png,0\n")
    survey = open_survey(masked)
    assert [image.weight for image in survey.images] == [0.25, 1.0, 1.0, 0.0]
    said = [problem.what for problem in survey.problems]
    assert [line.split(";")[0] for line in said] == [
        "images.csv line 3: weight must be a number from 0",
        "images.csv line 4: weight must be a number from 0",
    ]
    assert all(line.endswith("It is taken as 1.") for line in said)


def test_links_out_of_the_folder_are_refused(masked, tmp_path_factory):
    other = save(tmp_path_factory.mktemp("other") / "x.png", np.zeros((4, 4), np.uint8))
    (masked / "images" / "link.png").symlink_to(other)
    survey = open_survey(masked)
    assert [p.name for p in survey.problems] == ["link.png"]
    assert "link out of" in survey.problems[0].what


# --- images.csv -----------------------------------------------------------------------------


def test_the_table_of_images_is_joined(masked):
    (masked / "images.csv").write_text(
        "image,site,depth,date,scale,kind,width\n0,A,12.5,2020-01-02,0.1,x,60\n1.png,B,deep,,-1,,60\n"
        "images/2.png,A,,,,,\n9.png,A,1,,,,\n2.png,A,,,,,\n"
    )
    survey = open_survey(masked)
    first, second, third, fourth = survey.images
    assert (first.group, first.depth, first.date, first.scale, first.kind) == (
        "A",
        12.5,
        "2020-01-02",
        0.1,
        "x",
    )
    assert (second.group, second.depth, second.scale) == ("B", None, None)
    assert (third.group, fourth.group) == ("A", None)
    text = " ".join(p.what for p in survey.problems)
    assert "line 3: depth must be a number; got 'deep'" in text
    assert "scale must be a number above 0; got '-1'" in text
    assert "line 5 names '9.png', which is not among" in text
    assert "line 6 names 2.png again" in text
    assert "2 groups, the largest 'A'" in " ".join(survey_summary(survey))
    assert fold_table(survey)["group"].tolist()[:3] == ["A", "B", "A"]


def test_an_unknown_split_is_refused(masked):
    (masked / "images.csv").write_text("image,split\n0,tset\n")
    with pytest.raises(TransectError, match="Did you mean 'test'"):
        open_survey(masked)


# --- dots -----------------------------------------------------------------------------------


def test_dots_with_every_fault(folder):
    rows = [f"{i % 4}.png,{i + 1},{i},seal" for i in range(30)]
    rows += [
        "0.png,5,5,seal",
        "0.png,5,5,seal",
        "0.png,99,5,seal",
        "1.png,abc,5,seal",
        "1.png,nan,5,seal",
        "../../etc/passwd,1,1,seal",
        "gone.png,1,1,seal",
        "2.png,1",
    ]
    points(folder, "image,x,y,class\n" + "\n".join(rows))
    survey = open_survey(folder)
    assert len(survey.points) == 31
    text = " ".join(p.what for p in survey.problems)
    assert "line 33: the same dot stands twice" in text
    assert "x=99, y=5 lies outside 0.png (width 60, height 40)" in text
    assert "line 35: x must be a number; got 'abc'" in text
    assert "line 36: x must be a number; got ''" in text
    assert "'../../etc/passwd', which is not among the images" in text
    assert "'gone.png', which is not among the images" in text
    assert "line 39 has 2 cells, and the header has 4" in text
    assert len(survey.problems) == 7
    assert list(survey.points.columns) == ["image", "x", "y", "class"]
    assert survey.points["x"].dtype == float


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_as_spreadsheets_save_them(folder, encoding, delimiter):
    number = "1,5" if delimiter == ";" else "1.5"
    text = f"Filename,X,Y,Species\r\n0.png,{number},2,Löffler\r\n"
    text = (
        text.replace(",", delimiter)
        if delimiter != ";"
        else (f"Filename;X;Y;Species\r\n0.png;{number};2;Löffler\r\n")
    )
    (folder / "points.csv").write_bytes(text.encode(encoding))
    survey = open_survey(folder)
    assert survey.points.iloc[0].tolist() == ["0.png", 1.5, 2.0, "Löffler"]
    assert "1 dots: Löffler 1; 3 images without any" in survey_summary(survey)[1]


def test_swapped_columns_are_noticed(folder):
    rows = [f"{i % 4}.png,{i},{i + 12}" for i in range(40)]
    points(folder, "image,x,y\n" + "\n".join(rows))
    with pytest.raises(TransectError, match="inside it once x and y change places"):
        open_survey(folder)


def test_shares_and_percent_are_noticed(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(2):
        save(tmp_path / "images" / f"{i}.png", np.zeros((500, 600), np.uint8))
    for factor, what in ((1, "shares of the image"), (100, "percent")):
        xy = rng.random((60, 2)) * factor
        rows = [f"{i % 2}.png,{x},{y}" for i, (x, y) in enumerate(xy)]
        points(tmp_path, "image,x,y\n" + "\n".join(rows))
        with pytest.raises(TransectError, match=what):
            open_survey(tmp_path)


def test_tables_that_name_no_image_or_lack_columns(folder):
    points(folder, "image,x,y\nnope.png,1,2\n")
    with pytest.raises(TransectError, match=r"no row of points.csv names an image"):
        open_survey(folder)
    points(folder, "image,x\n0.png,1\n")
    with pytest.raises(TransectError, match="Add the column 'y'"):
        open_survey(folder)
    points(folder, "")
    with pytest.raises(TransectError, match="is empty"):
        open_survey(folder)
    points(folder, "image,x,x,y\n0.png,1,2,3\n")
    with pytest.raises(TransectError, match="two columns called 'x'"):
        open_survey(folder)
    points(folder, "image,x,y\n")
    with pytest.raises(TransectError, match="not a single dot"):
        open_survey(folder)
    (folder / "points.csv").write_bytes(b"\x89PNG\0\0")
    with pytest.raises(TransectError, match="not a text file"):
        open_survey(folder)


def test_unknown_classes_are_suggested(folder):
    (folder / "classes.csv").write_text("name\nadult\npup\n")
    points(folder, "image,x,y,class\n0.png,1,1,pub\n")
    with pytest.raises(TransectError, match="Did you mean 'pup'"):
        open_survey(folder)
    points(folder, "image,x,y,class\n0.png,1,1,pup\n")
    survey = open_survey(folder)
    assert survey.classes == ("pup",)
    assert any("classes.csv names adult, of which there is no object" in n for n in survey.notes)


def test_boxes_give_dots_and_are_cut_to_the_image(folder):
    (folder / "boxes.csv").write_text(
        "image,xmin,ymin,xmax,ymax,label\n0.png,10,10,20,30,Tree\n0.png,50,30,70,50,Tree\n"
        "1.png,200,200,210,210,Tree\n1.png,5,5,5,9,Tree\n"
    )
    survey = open_survey(folder)
    assert survey.boxes.iloc[1, 1:5].tolist() == [50, 30, 59.5, 39.5]
    assert survey.points[["x", "y"]].to_numpy().tolist() == [[15, 20], [54.75, 34.75]]
    assert len(survey.problems) == 3
    assert [i.name for i in survey.training()] == ["0.png", "2.png", "3.png"]
    (folder / "boxes.csv").write_text("image,x,y,width,height\n0.png,10,10,20,30\n")
    assert open_survey(folder).boxes.iloc[0, 1:5].tolist() == [10, 10, 30, 39.5]
    (folder / "boxes.csv").write_text("image,x1,y1,x2,y2\n0.png,10,11,20,30\n")
    assert open_survey(folder).boxes.iloc[0, 1:5].tolist() == [10, 11, 20, 30]
    (folder / "boxes.csv").write_text("image,x0\n0.png,10\n")
    with pytest.raises(TransectError, match="y0, x1, y1 is missing"):
        open_survey(folder)


def test_counts_with_faults_and_missing_rows(folder):
    (folder / "counts.csv").write_text("image,adult,pup\n0,3,1\n1,-1,0\n2,x,0\n0,3,1\n")
    with pytest.raises(TransectError, match=r"1 of 2 images have no row in counts.csv"):
        open_survey(folder)
    survey = open_survey(folder, missing="empty")
    assert survey.classes == ("adult", "pup")
    assert survey.counts.set_index("image").loc["0.png"].tolist() == [3, 1]
    assert survey.counts.set_index("image").loc["3.png"].tolist() == [0, 0]
    assert [i.name for i in survey.training()] == ["0.png", "3.png"]
    assert len(survey.problems) == 4
    assert fold_table(survey)["count"].tolist() == [4, 0]
    assert fold_table(survey)["class"].tolist() == ["adult", ""]
    assert "adult 3, pup 1" in survey_summary(survey)[2]
    points(folder, "image,x,y,class\n0.png,1,1,pup\n")
    assert "counts.csv and points.csv differ" in open_survey(folder).problems[-1].what
    (folder / "points.csv").unlink()
    (folder / "counts.csv").write_text("image\n0\n")
    with pytest.raises(TransectError, match="has no column of counts"):
        open_survey(folder)


# --- identities -----------------------------------------------------------------------------


def test_identities(folder):
    (folder / "identities.csv").write_text(
        "image,individual,side,sea\n0.png,w1,left,N\n1.png,w2,,N\n2.png,new_whale,,S\n3.png,w1,,S\n"
    )
    (folder / "images.csv").write_text("image,side,group\n0,right,g\n1,right,g\n")
    survey = open_survey(folder)
    assert survey.classes == ("w1", "w2")
    assert survey.identities["side"].tolist() == ["left", "right", "", ""]
    assert survey.identities["group"].tolist() == ["g", "g", "", ""]
    assert survey.identities["sea"].tolist() == ["N", "N", "S", "S"]
    assert (
        "2 individuals, 1 with a single photo; 1 photos of new_whale" in survey_summary(survey)[1]
    )
    assert fold_table(survey)["identity"].tolist() == ["w1", "w2", "new_whale", "w1"]
    assert fold_table(survey)["group"].fillna("").tolist() == ["g", "g", "", ""]


def test_identities_with_faults(folder):
    (folder / "identities.csv").write_text(
        "image,identity\n0.png,w1\n1.png,w1\n1.png,w2\n2.png,\n3.png,w3\n3.png,w3\n"
    )
    with pytest.raises(TransectError, match="2 of 4 images have no identity"):
        open_survey(folder)
    survey = open_survey(folder, missing="unlabelled")
    assert survey.identities["image"].tolist() == ["0.png", "3.png"]
    text = " ".join(p.what for p in survey.problems)
    assert "1.png has more than one identity" in text
    assert "2.png has no identity" in text
    assert "3.png stands twice" in text
    with pytest.raises(TransectError, match="no meaning for identities"):
        open_survey(folder, missing="empty")


def test_two_individuals_in_one_photo_need_boxes(folder):
    (folder / "identities.csv").write_text(
        "image,identity,x0,y0,x1,y1\n0,a,0,0,10,10\n0,b,20,0,30,10\n1,a,,,,\n2,a,,,,\n3,b,1,1,9,9\n"
    )
    survey = open_survey(folder)
    assert survey.problems == ()
    assert survey.identities["x0"].isna().tolist() == [False, False, True, True, False]


# --- the rest -------------------------------------------------------------------------------


def test_the_fingerprint_follows_the_contents_and_not_the_place(masked, tmp_path_factory):
    before = fingerprint(open_survey(masked))
    copy = tmp_path_factory.mktemp("copy") / "survey"
    shutil.copytree(masked, copy)
    assert fingerprint(open_survey(copy)) == before
    (copy / "images.csv").write_text("image,group\n0,A\n")
    assert fingerprint(open_survey(copy))["sha256"] != before["sha256"]
    (copy / "images.csv").unlink()
    save(copy / "images" / "0.png", np.zeros((40, 60, 3), np.uint8))
    assert fingerprint(open_survey(copy))["sha256"] != before["sha256"]


def test_the_fingerprint_tells_which_file_changed_even_at_the_same_size(masked, tmp_path):
    copy = tmp_path / "survey"
    shutil.copytree(masked, copy)
    before = fingerprint(open_survey(copy))
    survey = open_survey(copy)
    name = survey.images[1].name
    for path in (survey.images[1].path, survey.masks[name]):
        kept = path.read_bytes()
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))  # as long as before
        now = fingerprint(survey)
        assert now["sha256"] != before["sha256"]
        assert changed_files(before, now) == [name]
        path.write_bytes(kept)
    assert changed_files(before, fingerprint(survey)) == []


def test_progress_reaches_the_end(masked):
    seen = []
    open_survey(masked, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4, 4)


def test_list_images_needs_no_annotations(folder):
    images, problems = list_images(folder)
    assert [i.name for i in images] == ["0.png", "1.png", "2.png", "3.png"]
    assert list_images(folder / "images")[0] == images
    assert list_images(folder / "images" / "2.png")[0][0].size_hw == (40, 60)
    assert problems == ()
    with pytest.raises(TransectError, match="does not exist"):
        list_images(folder / "no")
    (folder / "empty").mkdir()
    with pytest.raises(TransectError, match="no picture that can be read"):
        list_images(folder / "empty")


def test_centroids_agree_with_scipy():
    from scipy import ndimage

    labels = np.random.default_rng(0).integers(0, 6, (20, 30))
    expected = np.array(ndimage.center_of_mass(labels > 0, labels, range(1, 6)))[:, ::-1]
    np.testing.assert_allclose(centroids(labels), expected)
    assert centroids(np.zeros((3, 3), int)).shape == (0, 2)


def test_wrong_mask_later_is_caught_when_decoded(masked):
    survey = open_survey(masked)
    save(masked / "masks" / "1.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(TransectError, match="is 8 x 8 and its image 40 x 60"):
        mask_labels(survey, "1.png")
    assert isinstance(fold_table(survey), pd.DataFrame)


def test_images_that_turn_out_broken_leave_with_their_rows(folder):
    points(folder, "image,x,y\n0.png,1,2\n1.png,1,2\n")
    survey = open_survey(folder)
    left = without_images(survey, [Problem("0.png", "0.png is truncated.")])
    assert [i.name for i in left.images] == ["1.png", "2.png", "3.png"]
    assert left.points["image"].tolist() == ["1.png"]
    assert left.problems[-1].name == "0.png"
    with pytest.raises(TransectError, match="no image left to train on"):
        without_images(survey, [Problem(i.name, "It is broken.") for i in survey.images])
