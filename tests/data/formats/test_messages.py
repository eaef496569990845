"""The messages of readers and writers that the tests of single formats do not reach."""

import errno
import json
import os
import sqlite3
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.data.formats.samples import SIZES, make_pictures
from tests.data.formats.test_dicom import write_slice
from tests.data.formats.test_geo import write_geotiff
from transect.data import exchange, rle, shapes
from transect.data.convert import convert, read_annotations, write_annotations
from transect.data.exchange import Annotations, Builder, Instance, Picture, Pictures
from transect.data.formats import (
    brush,
    checked,
    cvat,
    detect,
    dicom,
    dotted,
    geo,
    geojson,
    gpkg,
    ground,
    identities,
    labelme,
    survey_folder,
)
from transect.errors import TransectError

HUGE = (30_000, 30_000)
DOT = Instance("seal", point=(1.0, 1.0))
SOLID = Instance("seal", box=(0.5, 0.5, 3.5, 3.5))


def write(path: Path, value) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def one(name="a.png", size_hw=(12, 16), *instances) -> Annotations:
    return Annotations((Picture(name, size_hw, instances),), ("seal",))


def told(call) -> str:
    """What a call says: its error, or the problems of what it gave."""
    try:
        found = call()
    except TransectError as error:
        return str(error)
    return " ".join(problem.what for problem in found.problems)


# --- converting --------------------------------------------------------------------------------


def vanished(tmp_path):
    return read_annotations(tmp_path / "none.json", source_format="coco")


def into_a_reader(tmp_path):
    return write_annotations(one(), tmp_path / "out", target_format="dicom")


def a_folder_into_a_file(tmp_path):
    return write_annotations(one(), write(tmp_path / "out", "x"), target_format="yolo")


def a_file_into_a_folder(tmp_path):
    return write_annotations(one(), tmp_path, target_format="coco")


def slices_into_coco(tmp_path):
    write_slice(tmp_path / "ct" / "a.dcm", np.ones((4, 6)), 1.0)
    return convert(
        tmp_path / "ct", tmp_path / "a.json", source_format="dicom", target_format="coco"
    )


def pictures_of_a_file(tmp_path):
    return Pictures(write(tmp_path / "a.txt", "x"))


def no_size(tmp_path):
    return Builder(None).picture("a.png", (0, 5))


def two_sizes(tmp_path):
    builder = Builder(None)
    builder.picture("a.png", (4, 5))
    return builder.picture("a.png", (4, 6))


def nobody_knows(tmp_path):
    builder = Builder(None)
    builder.picture("a.png")
    return builder.size("a.png", "its mask needs it")


def huge_mask(tmp_path):
    return shapes.mask_of(SOLID, HUGE)


def mask_of_unknown_size(tmp_path):
    return shapes.parts_of(Instance("seal", counts=(4, 2)), None)


def detected_on_a_broken_disk(tmp_path, monkeypatch):
    def broken(self):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "exists", broken)
    return detect(tmp_path)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (vanished, "does not exist. Name the annotations"),
        (into_a_reader, "dicom cannot be written"),
        (a_folder_into_a_file, "is a file, and yolo is a folder"),
        (a_file_into_a_folder, "is a folder. Name a file"),
        (slices_into_coco, "holds pictures without annotations"),
        (pictures_of_a_file, "is not a folder. Name the folder of the pictures"),
        (no_size, "is said to be 0 x 5 pixels"),
        (two_sizes, "is said to be (4, 5) and (4, 6)"),
        (nobody_knows, "the size of a.png is not known"),
        (lambda t: exchange.checked_name("a/./b.png"), "is not a plain relative path"),
        (huge_mask, "is too large. Cut it"),
        (mask_of_unknown_size, "has a picture of unknown size"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_converting_says_what_is_wrong(tmp_path, call, words):
    if call is slices_into_coco:
        pytest.importorskip("pydicom")
    assert words in told(lambda: call(tmp_path))


def test_a_disk_that_fails_is_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(TransectError, match="cannot be read"):
        detected_on_a_broken_disk(tmp_path, monkeypatch)
    monkeypatch.undo()
    source = write(tmp_path / "a.json", {})

    def broken(*words, **options):
        raise OSError(errno.EIO, "Input/output error")

    from transect.data import convert as room

    chosen = replace(room.format_of("coco"), read=broken)
    monkeypatch.setattr(room, "format_of", lambda name: chosen)
    with pytest.raises(TransectError, match="Input/output error"):
        read_annotations(source, source_format="coco")


def test_files_beyond_their_bounds_are_refused(tmp_path, monkeypatch):
    with pytest.raises(TransectError, match="is larger than 0 MiB"):
        checked.read_bytes(write(tmp_path / "a.json", "{}"), 1)
    monkeypatch.setattr(checked, "XML_LIMIT", 1)
    with pytest.raises(TransectError, match="larger than"):
        cvat.read(write(tmp_path / "a.xml", "<annotations/>"))
    monkeypatch.setattr(gpkg, "_LIMIT", 1)
    with pytest.raises(TransectError, match="missing or larger"):
        list(gpkg.features(write(tmp_path / "a.gpkg", "xx"), Builder(None)))


# --- files of annotation programs --------------------------------------------------------------


def coco_segment(segmentation):
    value = {
        "images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 5}],
        "categories": [{"id": 1, "name": "seal"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}],
    }
    return "a.json", value, "coco"


def cvat_mask(**changes):
    numbers = {"left": 0, "top": 0, "width": 2, "height": 2, "rle": "1,3", **changes}
    words = " ".join(f'{key}="{value}"' for key, value in numbers.items())
    text = (
        '<annotations><image id="0" name="a.png" width="5" height="4">'
        f'<mask label="seal" {words}/></image></annotations>'
    )
    return "a.xml", text, "cvat"


def labelme_mask(mask, size=(4, 5)):
    shape = {"label": "seal", "points": [[0, 0], [1, 1]], "shape_type": "mask", "mask": mask}
    value = {
        "imagePath": "a.png", "imageHeight": size[0], "imageWidth": size[1], "shapes": [shape],
    }  # fmt: skip
    return "a.json", value, "labelme"


def studio(result, data=None):
    value = [{"data": data or {"image": "a.png"}, "annotations": [{"result": [result]}]}]
    return "a.json", value, "labelstudio"


def brushed(**value):
    sizes = {"original_width": 5, "original_height": 4}
    return {"type": "brushlabels", "value": {"brushlabels": ["seal"], **value}, **sizes}


def via_region(**shape):
    region = {"shape_attributes": shape, "region_attributes": {"class": "seal"}}
    return "a.json", {"a": {"filename": "a.png", "size": 1, "regions": [region]}}, "via"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (coco_segment({"size": [4], "counts": [20]}), "must be [height, width]"),
        (coco_segment({"size": [4, 5], "counts": [1.5]}), "must be whole numbers"),
        (cvat_mask(left=4), "leaves its picture"),
        (cvat_mask(rle="1,x"), "rle must be whole numbers"),
        (studio(brushed(format="png")), "is a brush that is not in RLE"),
        (
            studio({"type": "cuboidlabels", "value": {"x": 1, "y": 1, "cuboidlabels": ["seal"]},
                    "original_width": 5, "original_height": 4}),
            "which we do not read",
        ),
        (studio(brushed(format="rle", rle=[0]), {"number": 3}), "names no picture"),
        (via_region(name="polygon", all_points_x=[1, 2], all_points_y=[1]), "2 x and 1 y"),
        (via_region(name="line"), "which has no area"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_files_of_annotation_programs(tmp_path, case, words):
    name, value, kind = case
    assert words in told(lambda: read_annotations(write(tmp_path / name, value),
                                                  source_format=kind)[0])  # fmt: skip


def test_masks_too_large_to_be_decoded(tmp_path, monkeypatch):
    with pytest.raises(TransectError, match="is on a picture of"):
        brush.brush_to_mask([0] * 8, HUGE, where="a")
    import base64
    import io

    from PIL import Image

    data = io.BytesIO()
    Image.new("1", (3, 3)).save(data, "PNG")
    text = base64.b64encode(data.getvalue()).decode()
    name, value, _ = labelme_mask(text, HUGE)
    assert "is a mask on a picture of" in told(lambda: labelme.read(write(tmp_path / name, value)))
    name, value, _ = labelme_mask(text)
    monkeypatch.setattr(rle, "MASK_LIMIT_PX", 8)
    assert "has a mask of (3, 3)" in told(lambda: labelme.read(write(tmp_path / name, value)))


# --- individuals, dots, our own folder ---------------------------------------------------------


def test_folders_of_individuals(tmp_path):
    with pytest.raises(TransectError, match="individuals' folders"):
        identities.read_folder(write(tmp_path / "a.txt", "x"))
    make_pictures(tmp_path / "flat")
    (tmp_path / "flat" / "site" / "b.png").unlink()
    with pytest.raises(TransectError, match="has no folder with pictures"):
        identities.read_folder(tmp_path / "flat")
    with pytest.raises(TransectError, match="are to be copied"):
        identities.write_folder(one(), tmp_path / "out")
    pictures = Pictures(tmp_path / "flat")
    with pytest.raises(TransectError, match="can be no folder"):
        identities.write_folder(
            one("a.png", (12, 16), Instance(identity="a/b")), tmp_path / "out", pictures=pictures
        )


def test_a_dotted_photo_that_the_table_lacks():
    with pytest.raises(TransectError, match="is not in the table of counts"):
        dotted._check_counts({"seal": np.zeros((1, 2))}, "a.png", {"b": [1.0]}, ["seal"])


def test_our_own_folder(tmp_path, monkeypatch):
    pictures = Pictures(make_pictures(tmp_path / "p"))
    with pytest.raises(TransectError, match=r"c.png is not in"):
        survey_folder.write(one("c.png", (4, 4), DOT), tmp_path / "s", pictures=pictures)
    (tmp_path / "t" / "images").mkdir(parents=True)
    (tmp_path / "t" / "images" / "a.png").write_bytes(b"x")
    with pytest.raises(TransectError, match="exists already"):
        survey_folder._place(pictures.paths["a.png"], tmp_path / "t" / "images" / "a.png")

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(TransectError, match="cannot be linked"):
        survey_folder._place(pictures.paths["a.png"], tmp_path / "x" / "a.png")
    area = Instance("seal", counts=(0, 12 * 16))
    many = Picture("a.png", SIZES["a.png"], (area,) * 65536)
    with pytest.raises(TransectError, match="and 65535 fit"):
        survey_folder._mask(many, ["seal"], Annotations((many,), ("seal",)))


# --- places on the ground ----------------------------------------------------------------------


def geotiff(path, tags):
    import tifffile

    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.ones((4, 4, 3), np.uint8), photometric="rgb", extratags=tags)
    return path


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ([(34264, 12, 2, (1.0, 0.0), True)], "broken position tags"),
        ([(34264, 12, 16, (0.0,) * 16, True)], "position tags without extent"),
    ],
)
def test_positions_of_geotiffs(tmp_path, tags, words):
    with pytest.raises(TransectError, match=words):
        geo.ground_of(geotiff(tmp_path / "a.tif", tags))


def test_pictures_of_two_reference_systems(tmp_path):
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32634)
    write_geotiff(tmp_path / "t" / "a.tif", (4, 4), 5e5, 4e6)
    write_geotiff(tmp_path / "t" / "b.tif", (4, 4), 5e5, 4e6, keys=keys)
    both = tuple(Picture(f"{n}.tif", (4, 4), (DOT,)) for n in "ab")
    with pytest.raises(TransectError, match="several reference systems"):
        write_annotations(
            Annotations(both, ("seal",)), tmp_path / "m.geojson", pictures=Pictures(tmp_path / "t")
        )


def test_moving_between_reference_systems(monkeypatch):
    place = np.array([[500_000.0, 4_000_000.0]])
    monkeypatch.setitem(sys.modules, "rasterio.warp", None)
    with pytest.raises(TransectError, match=r"pip install transect\[geo\]"):
        ground.reprojected(place, 32633, 4326)
    monkeypatch.undo()
    pytest.importorskip("rasterio")
    with pytest.raises(TransectError, match="cannot be moved from EPSG:999999"):
        ground.reprojected(place, 999_999, 4326)
    with pytest.raises(TransectError, match="cannot be moved"):
        ground.reprojected(np.array([[1e300, 1e300]]), 32633, 4326)  # an error of GDAL itself
    monkeypatch.setattr("rasterio.warp.transform", lambda *words: ([np.inf], [0.0]))
    with pytest.raises(TransectError, match="outside the reach"):
        ground.reprojected(place, 32633, 4326)


@pytest.mark.parametrize(
    ("geometry", "words"),
    [
        ({"type": "Polygon", "coordinates": []}, "without rings"),
        ({"type": "MultiPolygon", "coordinates": []}, "has no coordinates"),
    ],
)
def test_geometries_of_geojson(geometry, words):
    with pytest.raises(TransectError, match=words):
        geojson.geometry_of(geometry, "a feature")


def blob(body: bytes, flags: int = 1) -> bytes:
    return struct.pack("<2sBBi", b"GP", 0, flags, 0) + body


POINT = struct.pack("<BI2d", 1, 1, 1.0, 2.0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"xx", "is no GeoPackage geometry"),
        (blob(POINT, 0x21), "of an unknown kind"),
        (blob(POINT[:9]), "that is cut off"),
        (blob(struct.pack("<BI", 1, 2)), "of type 2, without area"),
        (blob(struct.pack("<BII", 1, 6, 0)), "has 0 pieces"),
        (blob(struct.pack("<BII", 1, 6, 1) + POINT), "mixes points and polygons"),
        (blob(struct.pack("<BII", 1, 3, 0)), "a polygon of 0 rings"),
    ],
)
def test_geometries_of_geopackages(data, words):
    with pytest.raises(TransectError, match=words):
        gpkg._from_blob(data, "a row")


def test_a_layer_without_its_geometry(tmp_path):
    path = tmp_path / "a.gpkg"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE seals (name TEXT)")
        base.execute("CREATE TABLE gpkg_geometry_columns (table_name, column_name, srs_id)")
        base.execute("CREATE TABLE gpkg_spatial_ref_sys (srs_id, organization_coordsys_id)")
        base.execute("INSERT INTO gpkg_geometry_columns VALUES ('seals', 'geom', 1)")
    base.close()
    with pytest.raises(TransectError, match="has no geometry"):
        list(gpkg.features(path, Builder(None)))


# --- slices ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"NumberOfFrames": 2}, "one grey picture is needed"),
        ({"BitsAllocated": 12}, "cannot be decoded as DICOM"),
        ({"PixelSpacing": [0, 1]}, "has the pixel spacing"),
        ({"RescaleIntercept": "1e39"}, "pixels unlike its header"),
    ],
)
def test_slices(tmp_path, changes, words):
    pytest.importorskip("pydicom")
    write_slice(tmp_path / "a.dcm", np.ones((4, 6)), 1.0, **changes)
    with pytest.raises(TransectError, match=words), np.errstate(all="ignore"):
        dicom.read_slice(tmp_path / "a.dcm")


def test_what_is_no_slice(tmp_path, monkeypatch):
    pytest.importorskip("pydicom")
    with pytest.raises(TransectError, match="is not DICOM"):
        dicom.read_slice(write(tmp_path / "ct" / "a.dcm", "x" * 200))
    with pytest.raises(TransectError, match="has no DICOM slice"):
        dicom.read(tmp_path / "ct")
    write_slice(tmp_path / "v" / "a.dcm", np.ones((4, 6)), 1.0)
    (volume,), _ = dicom.read_volumes(tmp_path / "v")
    with pytest.raises(TransectError, match="Widen it"):
        dicom.resample(volume, (1e-9, 1e-9, 1e-9))
    monkeypatch.setattr(dicom, "_VOLUME_LIMIT", 10)
    with pytest.raises(TransectError, match="million voxels"):
        dicom.read_volumes(tmp_path / "v")
