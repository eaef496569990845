"""Annotations on the ground: positions against rasterio, round trips, hostile GeoPackages."""

import itertools
import json
import sqlite3
from importlib.util import find_spec

import numpy as np
import pytest
import tifffile

from tests.data.formats.samples import annotated, facts
from transect.data.convert import convert, read_annotations, write_annotations
from transect.data.exchange import Annotations, Instance, Picture, Pictures
from transect.data.formats import detect, geo
from transect.errors import TransectError

KEYS = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)
SIZES = {"a.tif": (12, 16), "site/b.tif": (9, 7), "empty.tif": (5, 6)}


def write_geotiff(path, size_hw, west, north, pixel=0.5, keys=KEYS):
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = [
        (33550, 12, 3, (pixel, pixel, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, west, north, 0.0), True),
        (34735, 3, len(keys), keys, True),
    ]
    tifffile.imwrite(path, np.ones((*size_hw, 3), np.uint8), photometric="rgb", extratags=tags)


@pytest.fixture
def pictures(tmp_path):
    for i, (name, size_hw) in enumerate(SIZES.items()):
        write_geotiff(tmp_path / "tiffs" / name, size_hw, 500_000.0 + 100 * i, 4_000_000.0)
    return Pictures(tmp_path / "tiffs")


def given(*kinds):
    found = annotated(*kinds)
    renamed = tuple(
        Picture(p.name.replace(".png", ".tif"), p.size_hw, p.instances) for p in found.pictures
    )
    return Annotations(renamed, found.classes)


def test_places_agree_with_rasterio(pictures):
    rasterio = pytest.importorskip("rasterio")
    path = pictures.paths["site/b.tif"]
    ground = geo.ground_of(path)
    with rasterio.open(path) as raster:
        assert raster.crs.to_epsg() == ground.epsg == 32633
        for row, column in ((0, 0), (3, 5)):
            wanted = raster.xy(row, column)  # of the pixel's centre
            np.testing.assert_allclose(ground.to_map(np.array([[column, row]]))[0], wanted)
    points = np.array([[1.5, 2.0], [-0.5, 8.0]])
    np.testing.assert_allclose(ground.to_pixels(ground.to_map(points)), points, atol=1e-6)


def test_a_tie_point_at_the_centre_of_the_pixel(tmp_path):
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 2, 3072, 0, 1, 32633)
    write_geotiff(tmp_path / "a.tif", (4, 4), 10.0, 20.0, pixel=2.0, keys=keys)
    ground = geo.ground_of(tmp_path / "a.tif")
    assert ground.to_map(np.zeros((1, 2))).tolist() == [[10.0, 20.0]]


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg"])
def test_comes_back(tmp_path, pictures, suffix):
    wanted = given("polygon", "hole", "mask", "box", "point")
    target = tmp_path / f"map{suffix}"
    write_annotations(wanted, target, pictures=pictures)
    assert detect(target) == "geo"
    found, _ = read_annotations(target, images=pictures.folder)
    assert found.problems == ()
    assert facts(found) == facts(wanted)


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg"])
def test_identity_and_confidence_come_back(tmp_path, pictures, suffix):
    dot = Instance("seal", point=(3.0, 4.0), confidence=0.5, identity="Freya")
    wanted = Annotations((Picture("a.tif", (12, 16), (dot,)),), ("seal",))
    target = tmp_path / f"map{suffix}"
    write_annotations(wanted, target, pictures=pictures)
    found, _ = read_annotations(target, images=pictures.folder)
    assert facts(found)["a.tif"] == facts(wanted)["a.tif"]


def test_geojson_is_what_gis_programs_expect(tmp_path, pictures):
    target = tmp_path / "map.geojson"
    write_annotations(given("hole", "point"), target, pictures=pictures)
    value = json.loads(target.read_text())
    assert value["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    hole = next(f for f in value["features"] if f["geometry"]["type"] == "MultiPolygon")
    ((outer, inner),) = hole["geometry"]["coordinates"]
    assert outer[0] == outer[-1]
    areas = [
        sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in itertools.pairwise(r)) / 2
        for r in (outer, inner)
    ]
    assert areas == [pytest.approx(49 / 4), pytest.approx(-4 / 4)]


def test_geopackage_passes_sqlite_and_names_its_layers(tmp_path, pictures):
    target = tmp_path / "map.gpkg"
    write_annotations(given("polygon", "point"), target, pictures=pictures)
    base = sqlite3.connect(target)
    assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert base.execute("PRAGMA foreign_key_check").fetchall() == []
    assert base.execute("PRAGMA application_id").fetchall() == [(0x47504B47,)]
    layers = base.execute("SELECT table_name, srs_id FROM gpkg_contents").fetchall()
    base.close()
    assert sorted(layers) == [("outlines", 32633), ("points", 32633)]


def feature(geometry, **words):
    return {"type": "Feature", "geometry": geometry, "properties": words}


def collection(tmp_path, *features, **more):
    path = tmp_path / "map.geojson"
    value = {"type": "FeatureCollection", "features": list(features), **more}
    path.write_text(json.dumps(value))
    return path


def test_features_without_a_picture_go_where_they_lie(tmp_path, pictures):
    path = collection(
        tmp_path,
        feature({"type": "MultiPoint", "coordinates": [[500_001.25, 3_999_998.75, 7.0]]}),
        feature({"type": "Point", "coordinates": [500_100.25, 3_999_999.75]}, species="seal"),
        feature({"type": "Point", "coordinates": [0, 0]}),
        feature({"type": "LineString", "coordinates": [[0, 0], [1, 1]]}),
        feature(None),
        feature({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}),
        feature({"type": "Point", "coordinates": ["a", 0]}),
        feature({"type": "Point", "coordinates": [0, 0]}, image="z.tif"),
        7,
    )
    read = geo.read(path, pictures=pictures)
    found = {p.name: [(i.label, i.point) for i in p.instances] for p in read.pictures}
    assert found == {
        "a.tif": [("object", (2.0, 2.0))],
        "site/b.tif": [("seal", (0.0, 0.0))],
        "empty.tif": [],
    }
    said = " ".join(p.what for p in read.problems)
    # Far-off features might lie in other coordinates: only rasterio can tell.
    far_off = "none of the pictures" if find_spec("rasterio") else "Install rasterio"
    for says in (far_off, "LineString", "too few points", "no numbers", "z.tif"):
        assert says in said


def test_degrees_are_reprojected(tmp_path, pictures):
    warp = pytest.importorskip("rasterio.warp")
    ground = geo.ground_of(pictures.paths["a.tif"])
    x, y = ground.to_map(np.array([[5.0, 6.0]]))[0]
    longitude, latitude = (v[0] for v in warp.transform("EPSG:32633", "EPSG:4326", [x], [y]))
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}
    point = {"type": "Point", "coordinates": [longitude, latitude]}
    read = geo.read(collection(tmp_path, feature(point), crs=crs), pictures=pictures)
    plain = geo.read(collection(tmp_path, feature(point)), pictures=pictures)
    for found in (read, plain):
        (dot,) = next(p for p in found.pictures if p.name == "a.tif").instances
        np.testing.assert_allclose(dot.point, (5.0, 6.0), atol=0.01)


def test_what_cannot_be_placed(tmp_path, pictures):
    path = collection(tmp_path, feature({"type": "Point", "coordinates": [0, 0]}))
    with pytest.raises(TransectError, match="--images"):
        convert(path, tmp_path / "survey")
    bare = tmp_path / "bare"
    bare.mkdir()
    tifffile.imwrite(bare / "a.tif", np.ones((12, 16), np.uint8))
    with pytest.raises(TransectError, match=r"no picture .* has a position"):
        convert(path, tmp_path / "survey", images=bare)
    with pytest.raises(TransectError, match="no position on the ground"):
        write_annotations(given("point"), tmp_path / "x.geojson", pictures=Pictures(bare))
    with pytest.raises(TransectError, match="unknown crs"):
        geo.read(collection(tmp_path, crs={"properties": {"name": "moon"}}), pictures=pictures)


def test_hostile_geopackages(tmp_path, pictures):
    path = tmp_path / "map.gpkg"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 200)
    with pytest.raises(TransectError, match="not a GeoPackage"):
        geo.read(path, pictures=pictures)
    path.unlink()
    write_annotations(given("point"), path, pictures=pictures)
    base = sqlite3.connect(path)
    base.execute("UPDATE points SET geom = x'4750000100000000010300000000000000ffffffff'")
    base.execute("INSERT INTO points (geom) VALUES ('text')")
    base.commit()
    base.close()
    read = geo.read(path, pictures=pictures)
    assert len(read) == 0
    assert len(read.problems) == 3
    base = sqlite3.connect(path)
    # A view that never ends, dressed as a layer, is no table and so never asked.
    base.execute(
        "CREATE VIEW evil AS WITH RECURSIVE r(geom) AS (SELECT 1 UNION ALL SELECT geom + 1 FROM r) "
        "SELECT geom FROM r"
    )
    base.execute("PRAGMA foreign_keys = OFF")
    base.execute("INSERT INTO gpkg_geometry_columns VALUES ('evil', 'geom', 'POINT', 32633, 0, 0)")
    base.commit()
    base.close()
    assert len(geo.read(path, pictures=pictures).problems) == 3
