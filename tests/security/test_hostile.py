"""What a stranger may try, one test each; docs/security.md names them."""

from __future__ import annotations

import json
import os
import pickle
import re
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.security.strangers import annotations, pictures, survey
from transect.audit import audit
from transect.data.convert import read_annotations
from transect.data.folder import list_pictures
from transect.data.images import image_info, read_image, read_labels
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.files import safe_join, spreadsheet_safe
from transect.run import RunFolder


class Evil:
    """Unpickling it would write a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.write_text, (self.mark, "code ran"))


def png_bomb(side: int) -> bytes:
    """A PNG of a few hundred bytes that says it is side x side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packed = zlib.compress(bytes(1 << 16), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [30_000, 2_000_000_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bomb(side))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TransectError):
        read_image(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000  # kB


@pytest.mark.parametrize("side", [8_000, 19_000])
def test_a_few_bytes_that_claim_a_large_picture_are_refused(tmp_path, side):
    path = tmp_path / "bomb.tif"
    tags = ((256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8),
            (277, 3, 1), (278, 4, side), (279, 4, 8))  # fmt: skip
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + bytes(4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (read_image, read_labels):
        with pytest.raises(TransectError, match=r"in \d+ bytes, which no photo does"):
            read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_chunk_longer_than_its_file_takes_no_memory(tmp_path):
    data = bytearray(pictures()["16.png"])
    at = data.find(b"IDAT")
    data[at - 4 : at] = struct.pack(">I", 0xFBFF00DA)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TransectError, match="damaged or truncated"):
        read_image(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_bomb_among_pictures_is_a_finding_not_a_crash(tmp_path):
    root = survey(tmp_path / "s", 6)
    (root / "images" / "bomb.png").write_bytes(png_bomb(30_000))
    report = audit(root)
    assert any("bomb.png" in f.images for f in report.findings if f.kind == "unreadable")


def test_a_tiff_that_claims_a_terabyte_is_refused_or_streamed(tmp_path):
    data = bytearray(pictures()["tif"])
    for tag in (256, 257):  # width and length as 32-bit numbers of a thousand million
        at = data.find(struct.pack("<H", tag), 8)
        assert at > 0
        data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 1_000_000_000)
    path = tmp_path / "huge.tif"
    path.write_bytes(bytes(data))
    with pytest.raises(TransectError):
        read_image(path)


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "C:\\x.png", "a/../../b.png", "..\\b", "a\0b", ""]
)
def test_names_that_lead_out_of_a_folder_are_refused(tmp_path, name):
    with pytest.raises(TransectError):
        safe_join(tmp_path, name)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd"])
def test_a_table_cannot_name_files_outside(tmp_path, name):
    root = survey(tmp_path / "s")
    (root / "images.csv").write_text(f"image,group\n{name},g\n0.png,h\n")
    problems = [p.what for p in open_survey(root).problems]
    assert any("passwd" in what and "left out" in what for what in problems)


@pytest.mark.parametrize("kind", ["coco", "labelme", "via", "cvat"])
def test_annotations_cannot_name_files_outside(tmp_path, kind):
    file, data = annotations()[kind]
    (tmp_path / file).write_bytes(data.replace(b"a.png", b"../../etc/passwd"))
    try:
        found, _ = read_annotations(tmp_path / file, source_format=kind)
    except TransectError:
        return
    # A path of another computer is taken by its tail, below our own folder.
    assert all(p.name in ("etc/passwd", "a") for p in found.pictures)


def test_a_link_out_of_the_survey_is_passed_over(tmp_path):
    root = survey(tmp_path / "s")
    secret = tmp_path / "secret.png"
    secret.write_bytes(pictures()["png"])
    (root / "images" / "link.png").symlink_to(secret)
    (root / "images" / "away").symlink_to(tmp_path)
    (root / "images" / "loop").symlink_to(root / "images")
    found, problems = list_pictures(root / "images")
    assert "link.png" not in found
    assert len(found) == 4
    assert {"link.png", "away"} <= {p.name for p in problems}


def test_a_named_pipe_among_pictures_does_not_hang(tmp_path):
    root = survey(tmp_path / "s")
    os.mkfifo(root / "images" / "pipe.png")
    code = (
        "import sys; from pathlib import Path; from transect.data.survey import open_survey\n"
        "s = open_survey(Path(sys.argv[1])); print(len(s.images))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, timeout=20
    )
    assert done.stdout.strip() == "4", done.stderr


def test_an_xml_bomb_does_not_explode(tmp_path):
    entities = "".join(
        f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' if i else '<!ENTITY e0 "lol">' for i in range(10)
    )
    text = f'<?xml version="1.0"?><!DOCTYPE a [{entities}]><annotations>&e9;</annotations>'
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(TransectError):
        read_annotations(path, source_format="cvat")


def test_an_xml_file_cannot_include_another(tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    outside = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{tmp_path}/secret.txt">]>'
    path = tmp_path / "a.xml"
    path.write_text(
        f'<?xml version="1.0"?>{outside}<annotations><image id="0" name="a.png" width="9" '
        'height="9"><box label="&x;" xtl="1" ytl="1" xbr="5" ybr="5"/></image></annotations>'
    )
    with pytest.raises(TransectError):
        read_annotations(path, source_format="cvat")


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1"])
def test_formulas_in_tables_that_we_write_are_text(cell):
    assert spreadsheet_safe(cell).startswith("'")


def test_deep_json_is_refused(tmp_path):
    (tmp_path / "recipe.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(TransectError):
        RunFolder.open(tmp_path).recipe()


def test_a_pickle_in_place_of_weights_is_refused_and_not_run(tmp_path):
    from torch import nn

    from transect.train.checkpoint import load_weights

    mark = tmp_path / "mark"
    path = tmp_path / "weights.safetensors"
    path.write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(TransectError):
        load_weights(nn.Linear(1, 1), path)
    assert not mark.exists()


def test_weights_with_code_are_refused_and_not_run(tmp_path):
    import torch

    from transect.matching import learned
    from transect.models.weights import read_weights

    mark = tmp_path / "mark"
    path = tmp_path / "AffNet.pth"
    torch.save({"state_dict": Evil(mark)}, path)
    with pytest.raises(TransectError):
        learned._fill(torch.nn.Linear(1, 1), path)
    with pytest.raises(TransectError):
        read_weights(path)
    assert not mark.exists()


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    mark = tmp_path / "mark"
    path = tmp_path / "a.npy"
    array = np.empty(1, object)
    array[0] = Evil(mark)
    np.save(path, array, allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(path)
    assert not mark.exists()


def test_no_source_file_unpickles():
    source = Path(__file__).parents[2] / "src" / "transect"
    for path in source.rglob("*.py"):
        text = path.read_text()
        for word in ("pickle.load", "joblib.load", "weights_only=False"):
            assert word not in text, f"{path.name} has {word}"
        assert "allow_pickle=True" not in text, path.name
        assert "yaml.load(" not in text, path.name
        assert "shell=True" not in text, path.name
        assert "eval(" not in text.replace(".eval(", "").replace("literal_eval(", ""), path.name


NETWORK = re.compile(
    r"hf_hub_download|load_state_dict_from_url|urlopen|urlretrieve|torch\.hub|socket\.create_conn"
    r"|pretrained=True|import (requests|httpx|urllib3|aiohttp|http\.client)|snapshot_download"
)


def test_one_place_opens_tensors_and_one_place_uses_the_network():
    source = Path(__file__).parents[2] / "src" / "transect"
    found = {"torch.load": set(), "network": set()}
    for path in source.rglob("*.py"):
        name, code = path.relative_to(source).as_posix(), path.read_text()
        if re.search(r"torch\.load\(|from torch import load", code):
            found["torch.load"].add(name)
            assert code.count("torch.load(") == code.count("weights_only=True)"), name
        if any(
            hit.group() != "pretrained=True" or "timm" in code for hit in NETWORK.finditer(code)
        ):
            found["network"].add(name)
    assert found == {"torch.load": {"weight_file.py"}, "network": {"models/weights.py"}}


def test_names_in_a_report_are_text(tmp_path):
    from transect.report.page import Page

    bad = "<script>alert(1)</script>"
    page = Page(bad, subtitle=bad).section(bad).text(bad).table((bad,), [(bad,)])
    page.pictures([(np.zeros((4, 4), np.uint8), bad)])
    assert "<script>alert" not in page.html()


def test_the_audit_of_hostile_names_is_text(tmp_path):
    from transect.report.page import Page

    root = survey(tmp_path / "s", 3)
    name = "<img src=x onerror=alert(1)>.png"
    (root / "images" / name).write_bytes((root / "images" / "0.png").read_bytes())
    (root / "masks" / name).write_bytes((root / "masks" / "0.png").read_bytes())
    page = Page("audit")
    audit(root).fill(page)
    assert "<img src=x" not in page.html()
    assert json.dumps(audit(root).to_json())


def test_the_header_of_a_picture_is_read_without_its_pixels(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_bomb(30_000))
    assert image_info(path)[0] == (30_000, 30_000)
