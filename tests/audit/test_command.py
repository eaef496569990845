import json

from tests.audit import planted
from transect.cli import main


def test_the_exit_code_says_whether_there_are_findings(tmp_path, capsys):
    root = planted.segment_survey(tmp_path / "s", 12)
    assert main(["audit", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clean"] is True
    (root / "images" / "copy.png").write_bytes((root / "images" / planted.name(0)).read_bytes())
    (root / "masks" / "copy.png").write_bytes((root / "masks" / planted.name(0)).read_bytes())
    page = tmp_path / "page.html"
    assert main(["audit", str(root), "--write-groups", "--next", "2", "--html", str(page)]) == 1
    assert page.stat().st_size > 1000
    assert "together-0001" in (root / "images.csv").read_text()
    assert "same file" in capsys.readouterr().out


def test_a_missing_folder_is_a_sentence(tmp_path, capsys):
    assert main(["audit", str(tmp_path / "none")]) == 2
    assert "is not a folder" in capsys.readouterr().err
