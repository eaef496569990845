"""Surveys in the shapes that public bug reports show: each is opened right, or asked about."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from transect.data.survey import fold_table, mask_labels, open_survey, survey_summary
from transect.errors import TransectError

openpyxl = pytest.importorskip("openpyxl")


def pictures(root, *names, size_hw=(60, 80)):
    for i, name in enumerate(names):
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = np.random.default_rng(i).integers(1, 255, (*size_hw, 3), dtype=np.uint8)
        Image.fromarray(shade).save(path)
    return root


def masks(root, *arrays, name="p{}.png", image="p{}.png"):
    for i, array in enumerate(arrays):
        size = array.shape[:2]
        pictures(root, image.format(i), size_hw=size)
        path = root / "masks" / name.format(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(array)).save(path)
    return root


def squares(*numbers, side=12, size_hw=(60, 80)):
    """A mask with a square of each number, left to right and then down."""
    mask = np.zeros(size_hw, np.uint8)
    for k, number in enumerate(numbers):
        y, x = 3 + 15 * (k // 5), 3 + 15 * (k % 5)
        mask[y : y + side, x : x + side] = number
    return mask


def table(root, text, name="points.csv"):
    data = text if isinstance(text, bytes) else text.encode()
    (root / name).write_bytes(data)
    return root


def dots(root):
    survey = open_survey(root)
    return survey, [tuple(row) for row in survey.points.itertuples(index=False)]


# --- what the numbers in masks mean ---------------------------------------------------------


def test_numbers_with_gaps_after_cropping_are_objects(tmp_path):
    numbers = [(3, 9, 17), (4, 9), (21, 25, 30, 31), (2, 12), (40, 44, 45), (7,)]
    root = masks(tmp_path, *(squares(*n) for n in numbers), name="p{}.tif", image="p{}.jpg")
    survey = open_survey(root)
    assert survey.mask_kind == "instances"
    assert len(open_survey(root, question="count").points) == 15


def test_numbers_that_hardly_recur_are_objects_in_any_order(tmp_path):
    numbers = [(90, 14, 55), (7, 31), (60, 2, 18, 77), (41, 23), (88, 35, 12), (64, 5)]
    assert open_survey(masks(tmp_path, *(squares(*n) for n in numbers))).mask_kind == "instances"


def test_void_of_voc_counts_for_nothing(tmp_path):
    arrays = []
    for number in (15, 1, 15, 1):
        mask = squares(255, side=14)
        mask[5:15, 5:15] = number
        arrays.append(mask)
    survey = open_survey(masks(tmp_path, *arrays))
    assert (survey.mask_kind, survey.classes, survey.void_values) == (
        "classes",
        ("1", "15"),
        (255,),
    )
    assert (mask_labels(survey, "p0.png") == -1).sum() == 14 * 14 - 100
    assert any("255 stands beside 1, 15" in note for note in survey.notes)


def test_255_is_a_class_if_the_table_says_so(tmp_path):
    root = masks(tmp_path, squares(1, 255), squares(255, 1), squares(1, 255))
    table(root, "value,name\n1,kelp\n255,sand\n", "classes.csv")
    assert open_survey(root).classes == ("kelp", "sand")


@pytest.mark.parametrize("values", [(1,), (255,), (1, 255)])
def test_one_number_a_mask_is_binary(tmp_path, values):
    arrays = [squares(values[i % len(values)]) for i in range(4)]
    survey = open_survey(masks(tmp_path, *arrays))
    assert (survey.mask_kind, survey.void_values) == ("binary", ())
    assert mask_labels(survey, "p1.png").sum() == 144


def test_edges_smoothed_by_resizing_are_refused(tmp_path):
    rng = np.random.default_rng(3)
    arrays = []
    for _ in range(4):
        thin = np.zeros((192, 192), np.uint8)
        rows = np.clip(96 + np.cumsum(rng.integers(-2, 3, 192)), 2, 189)
        for x, y in enumerate(rows):
            thin[y : y + 2, x] = 255
        small = Image.fromarray(thin).resize((96, 96), Image.Resampling.BICUBIC)
        arrays.append(np.asarray(small))
    with pytest.raises(TransectError, match=r"one number per class; \d+ greys"):
        open_survey(masks(tmp_path, *arrays))


def test_class_masks_saved_as_jpeg_are_refused(tmp_path):
    rng = np.random.default_rng(4)
    arrays = []
    for _ in range(3):
        blocks = rng.choice(np.array([0, 40, 80, 120], np.uint8), (6, 8))
        arrays.append(blocks.repeat(10, 0).repeat(10, 1))
    with pytest.raises(TransectError, match="greys"):
        open_survey(masks(tmp_path, *arrays, name="p{}.jpg"))


def test_the_same_number_of_pieces_everywhere_is_asked_about(tmp_path):
    numbers = [(1, 2), (2, 1), (1, 2), (2, 1)]
    root = masks(tmp_path, *(squares(*n) for n in numbers))
    with pytest.raises(TransectError, match=r"may mean classes or objects.*--masks classes or"):
        open_survey(root)


def test_pieces_numbered_row_by_row_are_objects_even_if_each_mask_has_three(tmp_path):
    arrays = [squares(*(1, 2, 3), side=5 + i) for i in range(5)]
    assert open_survey(masks(tmp_path, *arrays)).mask_kind == "instances"


def test_two_numbers_and_never_0_are_asked_about(tmp_path):
    arrays = [np.where(squares(1) > 0, 2, 1).astype(np.uint8) for _ in range(3)]
    root = masks(tmp_path, *arrays)
    with pytest.raises(TransectError, match=r"hold 1, 2 and never 0.*VALUE,background"):
        open_survey(root)
    table(root, "value,name\n1,background\n2,leaf\n", "classes.csv")
    survey = open_survey(root)
    assert (survey.mask_kind, survey.classes) == ("binary", ("leaf",))
    assert mask_labels(survey, "p0.png").sum() == 144


def test_a_map_without_background_says_so(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.choice(np.array([1, 2, 3], np.uint8), (6, 8)).repeat(10, 0).repeat(10, 1)] * 3
    survey = open_survey(masks(tmp_path, *arrays))
    assert survey.classes == ("1", "2", "3")
    assert any("no mask holds 0" in note for note in survey.notes)


def test_classes_that_do_not_occur_are_told_and_dropped(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.choice(np.array([0, 1, 3], np.uint8), (6, 8)).repeat(10, 0).repeat(10, 1)] * 3
    root = masks(tmp_path, *arrays)
    table(root, "value,name\n1,kelp\n2,clam\n3,sand\n", "classes.csv")
    survey = open_survey(root)
    assert (survey.classes, survey.class_values) == (("kelp", "sand"), (1, 3))
    assert any("classes.csv names clam, of which there is no pixel" in n for n in survey.notes)


def test_survey_json_says_what_the_masks_are(tmp_path):
    numbers = [(1, 2), (1, 2), (1, 2), (1, 2)]
    root = masks(tmp_path, *(squares(*n) for n in numbers))
    table(root, "value,name\n1,limpet\n2,shells\n", "classes.csv")
    (root / "survey.json").write_text('{"masks": "instances"}')
    survey = open_survey(root)
    assert (survey.mask_kind, survey.classes) == ("instances", ("limpet",))
    assert len(open_survey(root, question="count").points) == 8
    assert "survey.json says so" in " ".join(survey_summary(survey))


def test_255_that_fills_the_masks_is_asked_about(tmp_path):
    """Datumaro's issue 2004: datasets whose background is 255."""
    arrays = []
    for i in range(3):
        mask = np.full((60, 80), 255, np.uint8)
        mask[5:20, 5 + i : 20 + i], mask[30:40, 30:50] = 1, 2
        arrays.append(mask)
    root = masks(tmp_path, *arrays)
    with pytest.raises(TransectError, match=r"255 fills 9\d % of the masks.*255,background or"):
        open_survey(root)
    table(root, "value,name\n1,a\n2,b\n255,background\n", "classes.csv")
    survey = open_survey(root)
    assert (survey.classes, survey.background_values) == (("a", "b"), (255,))
    assert sorted(np.unique(mask_labels(survey, "p0.png"))) == [0, 1, 2]


def test_a_trimap_has_three_classes(tmp_path):
    """Oxford's pets: 1 the animal, 2 around it, 3 its edge; and never 0."""
    rows, columns = np.mgrid[:60, :80]
    distances = [np.hypot(rows - 30, columns - 30 - 5 * i) for i in range(3)]
    arrays = [np.where(d < 10, 1, np.where(d < 13, 3, 2)).astype(np.uint8) for d in distances]
    survey = open_survey(masks(tmp_path, *arrays))
    assert (survey.mask_kind, survey.classes) == ("classes", ("1", "2", "3"))


def test_soft_edges_of_mattes_are_refused(tmp_path):
    """PaddleX's issue 1674: hair with 254 greys."""
    rows, columns = np.mgrid[:60, :80]
    soft = np.clip(255 * (1 - (np.hypot(rows - 30, columns - 40) - 12) / 14), 0, 254)
    arrays = [np.roll(soft, k, 1).astype(np.uint8) for k in (0, 5, -9)]
    with pytest.raises(TransectError, match="greys"):
        open_survey(masks(tmp_path, *arrays))


# --- which mask is whose --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("well_{}_img.png", "well_{}_masks.tif"),  # Cellpose
        ("well_{}.png", "well_{}_cp_masks.png"),
        ("la_{:03d}_0000.png", "la_{:03d}.png"),  # nnU-Net
        ("a_{}_leftImg8bit.png", "a_{}_gtFine_labelIds.png"),  # Cityscapes
        ("img_{}.png", "mask_{}.png"),
        ("{}.jpg", "{}_mask.png"),
        ("site/{}.jpg", "site/{}_segmentation.png"),
        ("image_{}.png", "label_{}.png"),
    ],
)
def test_masks_are_paired_without_what_tools_add_to_names(tmp_path, image, mask):
    root = masks(tmp_path, squares(1), squares(1), squares(1), name=mask, image=image)
    survey = open_survey(root)
    assert sorted(survey.masks) == sorted(image.format(i) for i in range(3))
    assert all(survey.masks[image.format(i)].name == mask.format(i).split("/")[-1] for i in (0, 2))
    assert any("paired" in note for note in survey.notes)


def test_masks_of_cellpose_number_objects(tmp_path):
    arrays = [squares(1, 2), squares(2, 1), squares(1, 2)]
    root = masks(tmp_path, *arrays, name="w_{}_masks.tif", image="w_{}_img.png")
    survey = open_survey(root)
    assert survey.mask_kind == "instances"
    assert any("Cellpose calls its masks so" in note for note in survey.notes)


def test_two_channels_of_one_case_do_not_share_a_mask(tmp_path):
    root = masks(tmp_path, squares(1), squares(1), name="la_{}.png", image="la_{}_0000.png")
    pictures(root, "la_0_0001.png")
    survey = open_survey(root, missing="unlabelled")
    assert set(survey.masks) == {"la_1_0000.png"}


def test_coloured_masks_with_a_labelmap_name_the_way(tmp_path):
    colour = np.zeros((60, 80, 3), np.uint8)
    colour[10:20, 10:30] = (250, 50, 83)
    root = masks(tmp_path, colour, colour)
    table(root, "# label:color_rgb:parts:actions\nsea:250,50,83::\n", "labelmap.txt")
    with pytest.raises(TransectError, match=r"has colours.*convert .* OUT read the colours"):
        open_survey(root)


# --- tables ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "\ufeffsep=;\r\nimage;x;y;class\r\na.jpg;12,5;30,25;Möwe\r\na.jpg;1.005,5;30;Möwe\r\n",
            [("a.jpg", 12.5, 30.25, "Möwe"), ("a.jpg", 1005.5, 30, "Möwe")],
        ),
        (
            "sep=;\nimage;x;y;notes, by whom, when, where\na.jpg;1,5;2;\n",
            [("a.jpg", 1.5, 2, "object")],
        ),
        (
            'image,x,y,class\na.jpg,"1,234",30,s\na.jpg,"1,050",40,s\na.jpg,950,20,s\n',
            [("a.jpg", 1234, 30, "s"), ("a.jpg", 1050, 40, "s"), ("a.jpg", 950, 20, "s")],
        ),
        (
            '"image","x","y","class"\n"1","a.jpg",12,30,"s"\n"2","a.jpg",20,40,"s"\n',
            [("a.jpg", 12, 30, "s"), ("a.jpg", 20, 40, "s")],
        ),
        ("# made by hand, 2024\n\nimage,x,y\na.jpg,1.5,2\n", [("a.jpg", 1.5, 2, "object")]),
        ("image\tx\ty\na.jpg\t1,5\t2,25\n", [("a.jpg", 1.5, 2.25, "object")]),
        ("image,x,y,\na.jpg,1,2,\n", [("a.jpg", 1, 2, "object")]),
        (
            "image;x;y\na.jpg;1 234,5;3\n",
            [("a.jpg", 1234.5, 3, "object")],
        ),
        (
            "image;x;y\na.jpg;1\u00a0234,5;3\n",
            [("a.jpg", 1234.5, 3, "object")],
        ),
        ("image;x;y\na.jpg;1'234.5;3\n", [("a.jpg", 1234.5, 3, "object")]),
        ("image,x,y,class\na.jpg,1,2,NA\n", [("a.jpg", 1, 2, "object")]),
        ("Image;X;Y\na.jpg;12.345;6.5\n", [("a.jpg", 12.345, 6.5, "object")]),
    ],
    ids=[
        "sep",
        "told",
        "thousands",
        "R",
        "comment",
        "tabs",
        "trailing",
        "blanks",
        "hard blanks",
        "swiss",
        "NA",
        "points",
    ],
)
def test_tables_as_people_save_them(tmp_path, text, expected):
    root = table(pictures(tmp_path, "a.jpg", size_hw=(60, 1400)), text)
    survey, found = dots(root)
    assert found == expected
    assert survey.problems == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("boxes.csv", "a.jpg,1,2,9,9,cow\nb.jpg,,,,,\n"),  # keras-retinanet's tables
        ("points.csv", "a,1,2\na,5,6\n"),
    ],
)
def test_a_table_without_header_is_refused_as_that(tmp_path, name, text):
    root = table(pictures(tmp_path, "a.jpg", "b.jpg"), text, name)
    with pytest.raises(TransectError, match=r"has no header line: it begins with 'a"):
        open_survey(root)


def test_a_number_that_may_be_two_is_refused(tmp_path):
    root = pictures(tmp_path, "a.jpg", size_hw=(60, 1400))
    table(root, 'image,x,y\na.jpg,"1,5",2\na.jpg,1.5,2\na.jpg,"1,234",5\n')
    survey, found = dots(root)
    assert [row[1] for row in found] == [1.5]
    assert "x must be a number; got '1,234'" in survey.problems[0].what


def test_a_row_that_names_only_an_image_says_that_nothing_is_there(tmp_path):
    root = pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    table(root, "image,x,y,class\na.jpg,1,2,seal\nb.jpg,,,\nc.jpg,NA,NA,NA\n")
    survey, found = dots(root)
    assert (len(found), survey.problems, len(survey.training())) == (1, (), 3)
    (root / "points.csv").unlink()
    table(root, "image,xmin,ymin,xmax,ymax,label\na.jpg,1,2,5,6,t\nb.jpg,0,0,0,0,t\n", "boxes.csv")
    survey, found = dots(root)
    assert (len(found), survey.problems, len(survey.training())) == (1, (), 3)


def workbook(path, rows, *more):
    book = openpyxl.Workbook()
    for sheet in (rows, *more):
        page = book.active if sheet is rows else book.create_sheet()
        for row in sheet:
            page.append(row)
    book.save(path)


def test_an_excel_sheet_is_a_table(tmp_path):
    root = pictures(tmp_path, "a.jpg", "000123.jpg")
    rows = [["image", "x", "y", "class"], ["a.jpg", 12.5, 30, "seal"], [123, 20, 40.25, "pup"]]
    workbook(root / "points.xlsx", [["notes"], ["read me"]], rows)
    _, found = dots(root)
    assert found == [("a.jpg", 12.5, 30, "seal"), ("000123.jpg", 20, 40.25, "pup")]
    table(root, "image,x,y\na.jpg,1,2\n")
    with pytest.raises(TransectError, match=r"both points.csv and points.xlsx"):
        open_survey(root)


def test_a_workbook_that_is_none_says_to_save_a_csv(tmp_path):
    root = pictures(tmp_path, "a.jpg")
    table(root, b"PK\x03\x04 and no more", "points.xlsx")
    with pytest.raises(TransectError, match="save the sheet as CSV"):
        open_survey(root)
    table(root, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1....", "points.xlsx")
    with pytest.raises(TransectError, match=r"an old Excel file \(.xls\)"):
        open_survey(root)


# --- names, and images that are not empty ---------------------------------------------------


def test_another_case_of_the_suffix(tmp_path):
    root = pictures(tmp_path, "IMG_1.jpg", "IMG_2.jpg")
    survey, found = dots(table(root, "image,x,y\nIMG_1.JPG,1,2\nIMG_1.JPG,9,2\nIMG_2.jpg,3,4\n"))
    assert [row[0] for row in found] == ["IMG_1.jpg", "IMG_1.jpg", "IMG_2.jpg"]
    assert any("read with another case" in note for note in survey.notes)


def test_composed_and_decomposed_letters(tmp_path):
    name = "Müller Süd.png"
    root = pictures(tmp_path, unicodedata.normalize("NFD", name), "b.png")
    _, found = dots(
        table(root, f"image,x,y\n{unicodedata.normalize('NFC', name)},1,2\nb.png,3,4\n")
    )
    assert len(found) == 2


def test_zeros_that_a_spreadsheet_dropped(tmp_path):
    root = pictures(tmp_path, "000123.jpg", "000124.jpg", "b.jpg")
    survey, found = dots(table(root, "image,x,y\n123,1,2\n124,3,4\nb,5,6\n"))
    assert [row[0] for row in found] == ["000123.jpg", "000124.jpg", "b.jpg"]
    assert "'123' is 000123.jpg" in " ".join(survey_summary(survey))


@pytest.mark.parametrize(
    "row",
    ["IMG_3x.jpg,1,2", "IMG_3.jpg,999,2", "IMG_3.jpg,NA,2", "IMG_3.jpg,1", "IMG_03.jpg,1,2"],
    ids=["misspelt", "outside", "half a position", "too few cells", "other zeros"],
)
def test_an_image_whose_rows_are_refused_leaves_training(tmp_path, row):
    root = pictures(tmp_path, *(f"IMG_{i}.jpg" for i in (1, 2, 3, 4)))
    survey = open_survey(table(root, f"image,x,y\nIMG_1.jpg,1,2\nIMG_2.jpg,3,4\n{row}\n"))
    assert [i.name for i in survey.training()] == ["IMG_1.jpg", "IMG_2.jpg", "IMG_4.jpg"]
    assert survey.problems


@pytest.mark.parametrize(
    ("image", "text", "said"),
    [
        ("3-5.jpg", "5-Mar", "is a date that a spreadsheet"),
        ("39089837499752854.jpg", "3.91E+16", "is a number that a spreadsheet shortened"),
    ],
)
def test_names_that_a_spreadsheet_spoilt_are_told_and_theirs_kept_apart(
    tmp_path, image, text, said
):
    root = pictures(tmp_path, image, "b.jpg", "c.jpg")
    survey = open_survey(table(root, f"image,x,y\n{text},1,2\nb,3,4\n"))
    assert said in survey.problems[0].what
    assert [i.name for i in survey.training()] == ["b.jpg", "c.jpg"]


def test_rows_of_a_missing_folder_land_on_no_other(tmp_path):
    root = pictures(tmp_path, "S1/IMG_1.jpg", "S1/IMG_2.jpg", "S1/IMG_3.jpg")
    survey, found = dots(
        table(root, "image,x,y\nS1/IMG_1.jpg,1,2\nS2/IMG_1.jpg,3,4\nS2/IMG_2.jpg,5,6\n")
    )
    assert found == [("S1/IMG_1.jpg", 1, 2, "object")]
    assert len(survey.problems) == 2
    assert len(survey.training()) == 3


def test_dots_and_boxes_of_one_survey_are_both_counted(tmp_path):
    root = pictures(tmp_path, "a.jpg", "b.jpg")
    table(root, "image,x,y,class\na.jpg,10,10,pup\nb.jpg,20,20,pup\na.jpg,30,30,adult\n")
    table(
        root,
        "image,x0,y0,x1,y1,class\na.jpg,25,25,35,35,adult\na.jpg,50,5,70,25,adult\n"
        "b.jpg,5,5,30,30,adult\n",
        "boxes.csv",
    )
    _, found = dots(root)
    assert sorted(row[3] for row in found) == ["adult"] * 3 + ["pup"] * 2
    assert ("a.jpg", 60, 15, "adult") in found


def test_images_without_a_row_of_counts_have_those_of_their_dots(tmp_path):
    root = pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    table(root, "image,seal\na.jpg,2\n", "counts.csv")
    survey = open_survey(table(root, "image,x,y,class\na.jpg,1,2,seal\nb.jpg,3,4,seal\n"))
    assert dict(survey.counts.to_numpy().tolist()) == {"a.jpg": 2, "b.jpg": 1, "c.jpg": 0}
    assert fold_table(survey)["count"].tolist() == [2, 1, 0]


def test_a_box_reaches_half_a_pixel_beyond_the_last_centre(tmp_path):
    root = pictures(tmp_path, "a.jpg")
    table(root, "image,x0,y0,x1,y1\na.jpg,-5,50,6,99\na.jpg,70,-3,99,7.5\n", "boxes.csv")
    survey = open_survey(root)
    assert survey.boxes[["x0", "y0", "x1", "y1"]].to_numpy().tolist() == [
        [-0.5, 50, 6, 59.5],
        [70, -0.5, 79.5, 7.5],
    ]


def test_the_unknown_individual_is_a_field_of_the_survey(tmp_path):
    root = pictures(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    for word in ("unknown", "new_whale"):
        table(root, f"image,identity\na.jpg,w1\nb.jpg,w1\nc.jpg,{word}\n", "identities.csv")
        survey = open_survey(root)
        assert (survey.unknown, survey.classes) == (word, ("w1",))
    table(root, "image,identity\na.jpg,w1\nb.jpg,w1\nc.jpg,nobody\n", "identities.csv")
    assert open_survey(root).classes == ("nobody", "w1")
    (root / "survey.json").write_text('{"unknown": "nobody"}')
    assert open_survey(root).classes == ("w1",)
