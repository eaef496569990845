"""Files of field tools, as their manuals and public bug reports show them."""

import json
import zipfile

import cv2
import numpy as np
import pytest

from tests.data.formats.test_strangers import objects, picture, put, reasons
from transect.cli import main
from transect.data.convert import convert, read_annotations
from transect.data.formats import FORMATS, detect, format_of
from transect.data.formats.refused import REFUSED
from transect.data.png import write_png
from transect.data.rle import encode
from transect.data.shapes import mask_of
from transect.data.tally import lost_objects
from transect.errors import TransectError

# --- boxes --------------------------------------------------------------------------------------


def voc(*corners, name="a.png"):
    boxes = "".join(
        f"<object><name>tree</name><difficult>0</difficult><bndbox><xmin>{a}</xmin>"
        f"<ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for a, b, c, d in corners
    )
    size = "<size><width>80</width><height>60</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{size}{boxes}</annotation>"


@pytest.mark.parametrize(
    ("corners", "box"),
    [((1, 1, 10, 20), (-0.5, -0.5, 9.5, 19.5)), ((0, 5, 10, 20), (-0.5, 4.5, 9.5, 19.5))],
)
def test_voc_corners_count_from_one_unless_one_is_zero(tmp_path, corners, box):
    picture(tmp_path / "images", "a.png")
    put(tmp_path / "ann" / "a.xml", voc(corners))
    annotations, _ = read_annotations(tmp_path / "ann", images=tmp_path / "images")
    assert [i.box for i in objects(annotations)] == [box]
    assert bool(annotations.told) == (corners[0] == 0)


def test_voc_objects_without_a_box_are_told(tmp_path):
    picture(tmp_path, "a.png")
    text = voc((1, 1, 10, 20), ("x", 1, 10, 20)).replace("</annotation>", "<object/></annotation>")
    annotations, _ = read_annotations(put(tmp_path / "a.xml", text))
    assert (len(annotations), lost_objects(annotations.told)) == (1, 2)
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]>' + voc((1, 1, 9, 9))
    put(tmp_path / "a.xml", bomb)
    with pytest.raises(TransectError, match="DOCTYPE"):
        convert(tmp_path / "a.xml", tmp_path / "out", source_format="voc")


def test_megadetector_shares_failures_and_classifications(tmp_path):
    picture(tmp_path, "site 1/IMG_1.JPG", "site 1/IMG_2.JPG", "site 1/IMG_3.JPG")
    boxes = [
        {"category": "1", "conf": 0.93, "bbox": [0.25, 0.5, 0.125, 0.1]},
        {"category": "2", "conf": 0.1, "bbox": [0.5, 0.1, 0.1, 0.2]},
        {"category": "1", "conf": 0.5, "bbox": [0, 0, 0.5, 0.5], "classifications": [["7", 0.8]]},
        {"category": "9", "conf": 0.5, "bbox": [0, 0, 0.5, 0.5]},
    ]
    value = {
        "detection_categories": {"1": "animal", "2": "person"},
        "classification_categories": {"7": "ibex"},
        "images": [
            {"file": "site 1/IMG_1.JPG", "detections": boxes},
            {"file": "site 1/IMG_2.JPG", "detections": []},
            {"file": "site 1/IMG_3.JPG", "failure": "Image access failure"},
        ],
    }
    file = put(tmp_path / "md.json", value)
    assert detect(file) == "megadetector"
    annotations, _ = read_annotations(file, images=tmp_path)
    found = objects(annotations)
    assert [i.label for i in found] == ["animal", "person", "ibex"]
    assert np.allclose(found[0].box, (19.5, 29.5, 29.5, 35.5))
    assert np.allclose(found[1].box, (39.5, 5.5, 47.5, 17.5))
    assert reasons(annotations.told, lost=True) == {"the detector failed": 0, "faulty entry": 1}
    assert len(annotations.pictures) == 2


def test_coco_results_need_their_ground_truth(tmp_path):
    picture(tmp_path, "a.png")
    results = [{"image_id": 7, "category_id": 3, "bbox": [10, 10, 5, 5], "score": 0.9}]
    file = put(tmp_path / "predictions.json", results)
    with pytest.raises(TransectError, match=r"a list of COCO results.*ground truth"):
        convert(file, tmp_path / "out")
    truth = {
        "images": [{"id": 7, "file_name": "a.png", "height": 60, "width": 80}],
        "categories": [{"id": 3, "name": "seal"}],
        "annotations": [],
    }
    put(tmp_path / "instances.json", truth)
    annotations, _ = read_annotations(file)
    (seal,) = objects(annotations)
    assert (seal.label, seal.confidence, seal.box) == ("seal", 0.9, (9.5, 9.5, 14.5, 14.5))


def test_coco_results_agree_with_pycocotools(tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    picture(tmp_path, "a.png", "b.png")
    source = put(
        tmp_path / "boxes.csv",
        "image,x0,y0,x1,y1,class,confidence\na.png,9.5,9.5,14.5,19.5,seal,0.9\nb.png,0,0,4,4,pup,0.5\n",
    )
    convert(source, tmp_path / "r" / "results.json", target_format="coco-results")
    theirs = coco.COCO(str(tmp_path / "r" / "results_images.json"))
    loaded = theirs.loadRes(str(tmp_path / "r" / "results.json"))
    assert [a["bbox"] for a in loaded.dataset["annotations"]] == [[10, 10, 5, 10], [0.5, 0.5, 4, 4]]


def test_camtrap_observations_that_are_no_object_are_told(tmp_path):
    picture(tmp_path / "images", "a.png", "b.png")
    put(tmp_path / "media.csv", "mediaID,filePath\n1,a.png\n2,b.png\n")
    put(
        tmp_path / "observations.csv",
        "mediaID,observationType,scientificName,count\n1,animal,Vulpes vulpes,3\n"
        ",animal,Meles meles,1\n2,blank,,\n9,animal,x,1\n",
    )
    annotations, _ = read_annotations(tmp_path)
    assert (len(annotations), lost_objects(annotations.told)) == (1, 2)
    assert any("count of 3" in t.why for t in annotations.told)


# --- tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "boxes", "dots"),
    [
        (
            "image_path,xmin,ymin,xmax,ymax,label\na.png,11.5,7,45,52,Tree\na.png,0,0,0,0,Tree\n",
            "deepforest",
            [(11, 6.5, 44.5, 51.5)],
            [],
        ),
        ("images,x,y,labels\na.png,20,30,1\na.png,50,10,2\n", "herdnet", [], [(20, 30), (50, 10)]),
        (
            "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,80,60,cow,1,2,9,8\n",
            "table",
            [(0.5, 1.5, 8.5, 7.5)],
            [],
        ),
        (
            'image_id,width,height,bbox,source\na,80,60,"[10.0, 5.0, 30.0, 20.0]",x\n',
            "table",
            [(9.5, 4.5, 39.5, 24.5)],
            [],
        ),
        ("image,x,y,width,height,class\na.png,10,5,30,20,ship\n", "table", [(10, 5, 40, 25)], []),
        (
            "image,x,y,x0,y0,x1,y1,class\na.png,,,1,2,3,4,b\na.png,7,8,,,,,d\n",
            "table",
            [(1, 2, 3, 4)],
            [(7, 8)],
        ),
        ("sep=;\nimage;x;y;class\na.png;12,5;30,25;gull\n", "table", [], [(12.5, 30.25)]),
        ("image,x,y,class\na.png,,,\n", "table", [], []),
    ],
)
def test_tables_of_other_tools(tmp_path, text, name, boxes, dots):
    picture(tmp_path, "a.png")
    file = put(tmp_path / "t.csv", text)
    assert detect(file) == name
    annotations, _ = read_annotations(file)
    assert [p.name for p in annotations.pictures] == ["a.png"]
    assert [i.box for i in objects(annotations) if i.box] == boxes
    assert [i.point for i in objects(annotations) if i.point] == dots
    assert annotations.problems == ()


def test_a_column_that_is_not_kept_is_told(tmp_path):
    picture(tmp_path, "a.png")
    file = put(tmp_path / "t.csv", "image,x,y,age,observer\na.png,1,2,7,\na.png,3,x,8,\n")
    annotations, _ = read_annotations(file)
    assert reasons(annotations.told, lost=False) == {"column 'age' not kept": 2}
    assert (len(annotations), lost_objects(annotations.told)) == (1, 1)


def test_excel_sheets_are_tables(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    picture(tmp_path, "a.png")
    book = openpyxl.Workbook()
    for row in (("image", "x", "y", "class"), ("a.png", 12.5, 30, "gull")):
        book.active.append(row)
    book.save(tmp_path / "points.xlsx")
    annotations, _ = read_annotations(tmp_path / "points.xlsx")
    assert [(i.label, i.point) for i in objects(annotations)] == [("gull", (12.5, 30.0))]


def test_run_lengths_along_rows_are_told_by_their_shapes(tmp_path):
    picture(tmp_path / "images", "a.png", size_hw=(52, 70))
    yy, xx = np.mgrid[:52, :70]
    blobs = [(yy - 20) ** 2 + (xx - 15) ** 2 < 90, (yy - 30) ** 2 + (xx - 45) ** 2 < 140]
    for along_rows in (True, False):
        codes = [encode(blob.T if along_rows else blob) for blob in blobs]
        rows = "".join(f"a,{c},70,52,shsy5y\n" for c in codes)
        file = put(tmp_path / "train.csv", f"id,annotation,width,height,cell_type\n{rows}")
        annotations, _ = read_annotations(file)
        for found, blob in zip(objects(annotations), blobs, strict=True):
            np.testing.assert_array_equal(mask_of(found, (52, 70)), blob)
            assert found.label == "shsy5y"
        assert bool(annotations.told) == along_rows


def test_wildlife_datasets_and_happywhale(tmp_path):
    picture(tmp_path / "images", "turtle/t1.png", "turtle/t2.png", "turtle/t3.png")
    table = (
        "image_id,identity,path,date,orientation,species,bbox\n"
        '9f3a,Shelly,turtle/t1.png,2019-01-01,left,Chelonia mydas,"[10.0, 5.0, 30.0, 20.0]"\n'
        "77bc,Rock,turtle/t2.png,2020-01-01,right,Chelonia mydas,\n"
        "88cc,,turtle/t3.png,,,,\n"
    )
    file = put(tmp_path / "metadata.csv", table)
    assert detect(file) == "wildlife"
    annotations, _ = read_annotations(file)
    assert [i.identity for i in objects(annotations)] == ["Shelly", "Rock"]
    assert objects(annotations)[0].box == (9.5, 4.5, 39.5, 24.5)
    assert [p.labelled for p in annotations.pictures] == [True, True, False]
    assert annotations.pictures[0].columns == {"date": "2019-01-01", "side": "left"}
    happy = put(tmp_path / "train.csv", "image,species,individual_id\nt1.png,beluga,cadddb1636b9\n")
    assert detect(happy) == "identities"
    annotations, _ = read_annotations(happy)
    (whale,) = objects(annotations)
    assert (whale.label, whale.identity) == ("beluga", "cadddb1636b9")


# --- dots and outlines of picture tools ----------------------------------------------------------


def test_dotdotgoose(tmp_path):
    picture(tmp_path, "a.png")
    dots = {"goose": [{"x": 10.5, "y": 20.0}, {"x": 30.0, "y": 20.0}, {"x": "?"}], "swan": []}
    file = put(tmp_path / "geese.pnt", {"classes": ["goose", "swan"], "points": {"a.png": dots}})
    result = convert(file, tmp_path / "out")
    assert result.counts == (("goose", (0, 0, 2, 0)),)
    assert lost_objects(result.told) == 1


def test_imagej_rois_by_kind(tmp_path):
    roifile = pytest.importorskip("roifile")
    picture(tmp_path, "a.png")
    square = roifile.ImagejRoi.frompoints(np.array([[10, 10], [14, 10], [14, 13], [10, 13]]))
    dots = roifile.ImagejRoi.frompoints(np.array([[5, 6], [7, 8]]))
    dots.roitype = roifile.ROI_TYPE.POINT
    box = roifile.ImagejRoi()
    box.roitype, box.left, box.top, box.right, box.bottom = roifile.ROI_TYPE.RECT, 3, 4, 8, 9
    line = roifile.ImagejRoi()
    line.roitype = roifile.ROI_TYPE.LINE
    with zipfile.ZipFile(tmp_path / "a_RoiSet.zip", "w") as packed:
        for i, roi in enumerate((square, dots, box, line)):
            packed.writestr(f"{i}.roi", roi.tobytes())
    assert detect(tmp_path / "a_RoiSet.zip") == "imagej"
    annotations, _ = read_annotations(tmp_path / "a_RoiSet.zip")
    outline, first, second, rectangle = objects(annotations)
    assert mask_of(outline, (60, 80)).sum() == 12
    assert (first.point, second.point) == ((5, 6), (7, 8))
    assert rectangle.box == (2.5, 3.5, 7.5, 8.5)
    assert lost_objects(annotations.told) == 1


def test_imagej_table_of_results(tmp_path):
    picture(tmp_path / "images", "a.png")
    file = put(
        tmp_path / "Results.csv", " ,Label,Area,Mean,X,Y\n1,a.png,0,91,10.5,20\n2,a.png,0,3,40,22\n"
    )
    assert detect(file) == "imagej-results"
    annotations, _ = read_annotations(file)
    assert [i.point for i in objects(annotations)] == [(10, 19.5), (39.5, 21.5)]


def test_qupath_by_the_name_of_its_picture(tmp_path):
    picture(tmp_path, "slide 1.png", "other.png")
    ring = [[[10, 10], [20, 10], [20, 20], [10, 20], [10, 10]]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": ring},
        "properties": {
            "objectType": "cell",
            "classification": {"name": "tumour", "color": [1, 2, 3]},
        },
    }
    file = put(tmp_path / "slide 1.geojson", {"type": "FeatureCollection", "features": [feature]})
    assert detect(file) == "qupath"
    annotations, _ = read_annotations(file)
    assert [(p.name, len(p.instances)) for p in annotations.pictures] == [("slide 1.png", 1)]
    assert mask_of(objects(annotations)[0], (60, 80)).sum() == 100


def test_napari_counts_rows_first(tmp_path):
    picture(tmp_path, "a.png")
    put(tmp_path / "a_points.csv", "index,axis-0,axis-1\n0,20,10\n1,30.5,12\n")
    annotations, _ = read_annotations(tmp_path / "a_points.csv")
    assert [i.point for i in objects(annotations)] == [(10, 20), (12, 30.5)]
    shapes = "index,shape-type,vertex-index,axis-0,axis-1\n" + "".join(
        f"{k},{kind},{i},{y},{x}\n"
        for k, kind, corners in (
            (0, "rectangle", ((5, 6), (5, 16), (12, 16), (12, 6))),
            (1, "polygon", ((20, 20), (20, 30), (30, 30))),
            (2, "path", ((1, 1), (2, 2))),
        )
        for i, (y, x) in enumerate(corners)
    )
    put(tmp_path / "a_points.csv", shapes)
    annotations, _ = read_annotations(tmp_path / "a_points.csv")
    assert objects(annotations)[0].box == (6, 5, 16, 12)
    assert (len(annotations), lost_objects(annotations.told)) == (2, 1)


# --- folders of masks ---------------------------------------------------------------------------


@pytest.mark.parametrize("voc_layout", [True, False])
def test_colour_masks_by_their_labelmap(tmp_path, voc_layout):
    folders = ("JPEGImages", "SegmentationClass") if voc_layout else ("images", "masks")
    picture(tmp_path / folders[0], "a.png")
    put(
        tmp_path / "labelmap.txt",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nalga:0,128,0::\n",
    )
    mask = np.zeros((60, 80, 3), np.uint8)
    mask[5:15, 5:15], mask[30:35, 40:50], mask[50, 70] = (0, 128, 0), (0, 128, 0), (9, 9, 9)
    write_png(tmp_path / folders[1] / "a.png", mask)
    assert detect(tmp_path) == "cvat-masks"
    annotations, _ = read_annotations(tmp_path)
    (alga,) = objects(annotations)
    assert (alga.label, int(mask_of(alga, (60, 80)).sum())) == ("alga", 150)
    assert reasons(annotations.told, lost=True) == {"colour that labelmap.txt does not name": 1}
    if voc_layout:
        apart = mask.copy()
        apart[30:35, 40:50] = (200, 0, 0)
        write_png(tmp_path / "SegmentationObject" / "a.png", apart)
        annotations, _ = read_annotations(tmp_path)
        assert sorted(int(mask_of(i, (60, 80)).sum()) for i in objects(annotations)) == [50, 100]


def test_nnunet_cases_and_channels(tmp_path):
    picture(tmp_path / "imagesTr", "la_0_0000.png", "la_0_0001.png")
    mask = np.zeros((60, 80), np.uint8)
    mask[5:15, 5:15], mask[20:22, 20:22] = 1, 2
    write_png(tmp_path / "labelsTr" / "la_0.png", mask)
    put(tmp_path / "dataset.json", {"labels": {"background": 0, "salt": 1, "ignore": 2}})
    assert detect(tmp_path) == "nnunet"
    annotations, _ = read_annotations(tmp_path)
    assert [(i.label, int(mask_of(i, (60, 80)).sum())) for i in objects(annotations)] == [
        ("salt", 100)
    ]
    assert set(reasons(annotations.told, lost=True)) == {
        "further channel of a picture",
        "ignore label",
    }


def test_cellpose_masks_and_its_pickle(tmp_path):
    picture(tmp_path, "well_0_img.png", "well_1_img.png")
    labels = np.zeros((60, 80), np.uint16)
    labels[3:8, 3:8], labels[20:30, 20:30] = 4, 700  # numbers with gaps
    write_png(tmp_path / "well_0_masks.png", labels)
    assert detect(tmp_path) == "cellpose"
    annotations, _ = read_annotations(tmp_path)
    assert sorted(int(mask_of(i, (60, 80)).sum()) for i in objects(annotations)) == [25, 100]
    assert {p.name: p.labelled for p in annotations.pictures} == {
        "well_0_img.png": True,
        "well_1_img.png": False,
    }
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a_seg.npy").write_bytes(b"\x93NUMPY")
    for path in (tmp_path / "p", tmp_path / "p" / "a_seg.npy"):
        with pytest.raises(TransectError, match=r"Cellpose's _seg.npy.*pickle.*PNG or TIFF"):
            convert(path, tmp_path / "out")


# --- refused by name ----------------------------------------------------------------------------

SAMPLES = {
    "a Python pickle": ("a.pkl", b"\x80\x04"),
    "an ilastik project": ("a.ilp", b"\x89HDF"),
    "a SLEAP project": ("a.slp", b"\x89HDF"),
    "an Imaris file": ("a.ims", b"\x89HDF"),
    "a table of DeepLabCut": ("a.csv", b"scorer,me,me\nbodyparts,nose,nose\n"),
    "an HDF5 file": ("a.h5", b"\x89HDF\r\n"),
    "a MATLAB file": ("a.mat", b"MATLAB 5.0"),
    "an export of Labelbox": ("a.ndjson", b'{"data_row": {}, "projects": {}}'),
    "V7 Darwin JSON": ("a.json", b'{"item": {}, "annotations": []}'),
    "Datumaro JSON": ("a.json", b'{"categories": {}, "items": []}'),
    "a Supervisely annotation": ("a.json", b'{"size": {}, "objects": []}'),
    "a VoTT project": ("a.json", b'{"asset": {}, "regions": []}'),
    "CreateML JSON": ("a.json", b'[{"image": "a.png", "annotations": []}]'),
    "VIA 3 JSON": ("a.json", b'{"project": {}, "file": {}, "view": {}}'),
    "a FiftyOne data set": ("a.json", b'{"samples": []}'),
    "SuperAnnotate JSON": ("a.json", b'{"metadata": {}, "instances": []}'),
    "a manifest of SageMaker": ("a.manifest", b'{"source-ref": "s3://a"}'),
    "Label Studio's CSV": ("a.csv", b"image,id,label,annotator,lead_time\n"),
    "a report of BIIGLE": ("a.csv", b"annotation_label_id,label_id,points\n"),
    "a table without a header (as of keras-retinanet, make-sense)": (
        "a.csv",
        b"seal,10,5,20,10,a.jpg,80,60\n",
    ),
    "a folder of Label Studio's brush PNGs": (
        "task-1-annotation-2-by-1-tag-red-0.png",
        b"\x89PNG",
    ),
    "a table of OpenImages": ("a.csv", b"ImageID,LabelName,XMin,XMax,YMin,YMax\n"),
    "a table of QuPath's measurements": ("a.tsv", "Image\tClass\tCentroid X µm\n".encode()),
    "a table of CellProfiler": ("a.csv", b"ImageNumber,ObjectNumber,Location_Center_X\n"),
    "a QuPath project": ("a.qpproj", b"{}"),
    "a Timelapse database": ("a.ddb", b"SQLite format 3"),
    "KML": ("a.kml", b"<kml/>"),
    "a part of a shapefile": ("a.dbf", b"\x03"),
    "an old Excel file": ("a.xls", b"\xd0\xcf"),
    "a spreadsheet of LibreOffice": ("a.ods", b"PK\x03\x04"),
    "Parquet": ("a.parquet", b"PAR1"),
    "a TFRecord": ("a.tfrecord", b"\x01"),
    "NIfTI": ("a.nii.gz", b"\x1f\x8b"),
    "a GIMP or Photoshop file": ("a.xcf", b"gimp xcf"),
    "an archive": ("a.zip", b"PK\x05\x06" + bytes(18)),
}


@pytest.mark.parametrize("refused", [r for r in REFUSED if r.name in SAMPLES], ids=lambda r: r.name)
def test_a_format_that_is_known_is_refused_by_its_name(tmp_path, refused):
    name, content = SAMPLES[refused.name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TransectError) as caught:
        detect(tmp_path if "folder" in refused.name else tmp_path / name)
    assert f"is {refused.name}, which is not read. {refused.instead}" in str(caught.value)


def test_every_refused_format_has_its_sample():
    assert {r.name for r in REFUSED} - set(SAMPLES) == {"Cellpose's _seg.npy"}
    with pytest.raises(TransectError, match="Export COCO from Supervisely"):
        format_of("supervisely")


def test_coco_panoptic_is_refused_by_its_name(tmp_path):
    value = {"images": [], "annotations": [{"segments_info": []}], "categories": []}
    with pytest.raises(TransectError, match="panoptic"):
        convert(put(tmp_path / "a.json", value), tmp_path / "out")


# --- the command --------------------------------------------------------------------------------


def test_help_lists_every_format_and_whether_it_is_read_and_written(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    text = capsys.readouterr().out
    for one in FORMATS.values():
        (line,) = [row for row in text.splitlines() if row.split()[:1] == [one.name]]
        assert ("read, write" if one.write else "read  ") in line
    assert "_seg.npy" in text


def test_a_dotted_pair_becomes_a_survey_as_the_tutorial_prints_it(tmp_path, capsys):
    rng = np.random.default_rng(0)
    plain = cv2.GaussianBlur(rng.integers(60, 120, (80, 90, 3), dtype=np.uint8), (5, 5), 0)
    dotted = plain.copy()
    cv2.circle(dotted, (30, 40), 3, (38, 174, 21), -1)
    for folder in ("images", "dotted"):
        write_png(tmp_path / "pair" / folder / "0.png", plain if folder == "images" else dotted)
    write_png(tmp_path / "pair" / "dotted" / "9.png", dotted)
    call = ["convert", str(tmp_path / "pair"), str(tmp_path / "colony"), "--from", "dotted"]
    assert main(call) == 1
    said = capsys.readouterr()
    assert (
        tmp_path / "colony" / "points.csv"
    ).read_text() == "image,x,y,class\n0.png,30.0,40.0,pups\n"
    assert "dotted copies without a plain picture" in said.out
    assert "no annotated picture and no object was lost" in said.out.splitlines()[-1]
    (tmp_path / "pair" / "dotted" / "9.png").unlink()
    assert main([*call[:2], str(tmp_path / "again"), *call[3:]]) == 0


def test_masks_of_a_survey_are_read_as_told(tmp_path):
    picture(tmp_path / "s" / "images", "a.png", "b.png")
    for name in ("a.png", "b.png"):
        mask = np.zeros((60, 80), np.uint8)
        mask[5:10, 5:10], mask[20:30, 20:30] = 1, 2
        write_png(tmp_path / "s" / "masks" / name, mask)
    both = convert(tmp_path / "s", tmp_path / "a.json", masks="instances")
    assert both.counts == (("object", (4, 0, 0, 0)),)
    assert len(convert(tmp_path / "s", tmp_path / "b.json", masks="classes").counts) == 2
    with pytest.raises(TransectError, match="--masks is for surveys"):
        convert(tmp_path / "a.json", tmp_path / "c.csv", masks="classes")


def test_json_of_a_run_says_nothing_of_a_format(tmp_path):
    with pytest.raises(TransectError, match="none that we know"):
        detect(put(tmp_path / "decide.json", json.loads('{"threshold": 0.5}')))
