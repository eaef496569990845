"""DICOM slices made by pydicom: Hounsfield units, order, spacing, pictures."""

import sys

import numpy as np
import pytest

from transect.data.convert import convert
from transect.data.formats import detect, dicom
from transect.data.images import read_image
from transect.errors import TransectError


def write_slice(path, stored, z, *, series="1.2.3", spacing=(0.5, 0.75), **more):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.InstanceNumber = series, int(z)
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.RescaleSlope, data.RescaleIntercept = 2, -1000
    data.PixelSpacing = list(spacing)
    data.ImagePositionPatient = [0, 0, z]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for key, value in more.items():
        setattr(data, key, value)
    data.PixelData = stored.astype(np.uint16).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


@pytest.fixture
def folder(tmp_path):
    for i, z in enumerate((6.0, 2.0, 4.0)):
        write_slice(tmp_path / "ct" / f"{i}.dcm", np.full((4, 6), 100 * int(z)), z)
    return tmp_path / "ct"


def test_hounsfield_units_and_spacing(folder):
    found = dicom.read_slice(folder / "1.dcm")
    assert found.pixels.dtype == np.float32
    assert np.unique(found.pixels).tolist() == [-600.0]
    assert found.spacing_mm == (0.5, 0.75)
    assert found.position_mm == 2.0


def test_volume_is_in_order_and_resampled(folder):
    (volume,), problems = dicom.read_volumes(folder)
    assert problems == []
    assert volume.voxels[:, 0, 0].tolist() == [-600.0, -200.0, 200.0]
    assert volume.names == ("1.dcm", "2.dcm", "0.dcm")
    assert volume.spacing_mm == (2.0, 0.5, 0.75)
    finer = dicom.resample(volume, (1.0, 1.0, 1.5))
    assert finer.voxels.shape == (6, 2, 3)
    assert finer.spacing_mm == (1.0, 1.0, 1.5)
    np.testing.assert_allclose(finer.voxels[:, 0, 0], [-600, -500, -300, -100, 100, 200], atol=1)
    with pytest.raises(TransectError, match="voxels"):
        dicom.resample(volume, (1e-9, 1.0, 1.0))


def test_faults_of_a_series_are_told(folder):
    write_slice(folder / "far.dcm", np.zeros((4, 6)), 20.0)
    write_slice(folder / "b" / "0.dcm", np.zeros((4, 6)), 1.0, series="9")
    write_slice(folder / "b" / "1.dcm", np.zeros((5, 6)), 2.0, series="9")
    (folder / "notes.txt").write_text("hello")
    volumes, problems = dicom.read_volumes(folder)
    assert [v.series for v in volumes] == ["1.2.3"]
    said = " ".join(p.what for p in problems)
    for says in ("lacks slices", "mixes sizes", "is not DICOM"):
        assert says in said


def test_converted_to_a_survey(folder, tmp_path):
    assert detect(folder) == "dicom"
    result = convert(folder, tmp_path / "survey")
    assert (result.pictures, result.problems) == (3, ())
    picture = read_image(tmp_path / "survey" / "images" / "1.dcm.png")
    assert picture.dtype == np.uint16
    assert np.unique(picture).tolist() == [424]  # -600 + 1024
    table = (tmp_path / "survey" / "images.csv").read_text().splitlines()
    assert table == [
        "image,group,depth,scale",
        "0.dcm.png,1.2.3,6,0.5",
        "1.dcm.png,1.2.3,2,0.5",
        "2.dcm.png,1.2.3,4,0.5",
    ]
    with pytest.raises(TransectError, match="without annotations"):
        convert(folder, tmp_path / "a.json", target_format="coco")


def test_windowed_pictures(folder, tmp_path):
    written, _ = dicom.write_pictures(folder, tmp_path / "png", window=dicom.WINDOWS["lung"])
    assert len(written) == 3
    assert np.unique(read_image(tmp_path / "png" / "1.dcm.png")).tolist() == [128]


def test_broken_files(tmp_path):
    path = tmp_path / "a.dcm"
    write_slice(path, np.zeros((4, 6)), 1.0)
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    with pytest.raises(TransectError, match="cannot be decoded"):
        dicom.read_slice(path)
    write_slice(path, np.zeros((4, 6)), 1.0, NumberOfFrames=9)
    with pytest.raises(TransectError, match="9 frames"):
        dicom.read_slice(path)
    write_slice(path, np.zeros((4, 6)), 1.0, Rows=65535, Columns=65535)
    with pytest.raises(TransectError, match="65535 x 65535"):
        dicom.read_slice(path)
    write_slice(path, np.zeros((4, 6)), 1.0, spacing=(0.0, 1.0))
    with pytest.raises(TransectError, match="spacing"):
        dicom.read_slice(path)


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    path = tmp_path / "a.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM")
    assert detect(path) == "dicom"
    with pytest.raises(TransectError, match=r"transect\[volume\]"):
        convert(path, tmp_path / "survey")
