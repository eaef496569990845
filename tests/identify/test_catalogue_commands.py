import shutil

import pytest

from tests.identify.conftest import Said
from transect import api
from transect.catalogue.store import Catalogue
from transect.cli import main
from transect.errors import TransectError
from transect.run import RunFolder
from transect.types import Quiet


@pytest.fixture
def run(tiny_run, tmp_path):
    shutil.copytree(tiny_run.path, tmp_path / "run")
    return RunFolder.open(tmp_path / "run")


def names_in(run):
    return {p.image: p.identity for p in Catalogue.open(run.path / "catalogue").photos}


def test_merge_and_undo_from_the_command_line(run, capsys):
    before = names_in(run)
    assert main(["catalogue", str(run.path), "merge", "a0", "a1", "--who", "Ada"]) == 0
    assert "a1" not in names_in(run).values()
    assert main(["catalogue", str(run.path), "undo"]) == 0
    assert names_in(run) == before
    assert main(["catalogue", str(run.path / "catalogue"), "log"]) == 0
    told = capsys.readouterr().out
    assert "by Ada: merge keep a0, other a1, photos 6" in told
    assert "taken back" in told


def test_splitting_renaming_and_naming(run):
    folder = run.path
    api.catalogue(folder, "split", ["a0", "twin", "00_0_0.png", "00_0_1.png"])
    api.catalogue(folder, "rename", ["a2", "Otto"])
    api.catalogue(folder, "assign", ["Vera", "08_0_0.png"])
    names = names_in(run)
    assert [names[f"00_0_{k}.png"] for k in (0, 1)] == ["twin", "twin"]
    assert names["02_0_0.png"] == "Otto"
    assert names["08_0_0.png"] == "Vera"
    listed = api.catalogue(folder, "list")
    assert any(line.split() == ["Vera", "1"] for line in listed)


def test_an_added_individual_is_recognised_in_its_next_encounter(run, asked, tmp_path):
    from tests.identify.conftest import photo

    first = tmp_path / "first"
    shutil.copytree(asked / "images", first)
    for path in first.glob("new[0-3]_*"):
        path.unlink()
    (first / "identities.csv").write_text(
        "image,identity\n" + "".join(f"new20_{k}.png,Wanda\n" for k in range(2))
    )
    (first / "broken.png").write_bytes(b"no picture")
    said = Said()
    told = api.catalogue(run.path, "add", [str(first)], progress=said)
    assert "4 photos added" in told[0]
    assert "broken.png" in said.lines[0]
    assert names_in(run)["new20_0.png"] == "Wanda"
    assert names_in(run)["new21_0.png"] == "new_whale"
    import cv2
    import pandas as pd

    again = tmp_path / "again"
    again.mkdir()
    cv2.imwrite(str(again / "met.png"), photo(20, 11, 0))
    api.predict(run.path, again, tmp_path / "out")
    assert pd.read_csv(tmp_path / "out" / "identities.csv")["identity_1"][0] == "Wanda"
    with pytest.raises(TransectError, match="already"):
        api.catalogue(run.path, "add", [str(first)], progress=Quiet())


def test_a_photo_taken_back_leaves_no_picture_and_no_keypoints(run, tmp_path):
    import cv2

    from tests.identify.conftest import photo

    new = tmp_path / "new"
    new.mkdir()

    def kept():
        book = run.path / "catalogue"
        files = [p for part in ("album", "keypoints") for p in (book / part).rglob("*.*")]
        return {p: p.read_bytes() for p in files if p.is_file()}

    before = kept()
    cv2.imwrite(str(new / "x.png"), photo(20, 11, 0))
    api.catalogue(run.path, "add", [str(new)], progress=Quiet())
    wrong = kept()
    assert set(wrong) > set(before)
    api.catalogue(run.path, "undo")
    assert kept() == before
    for path in set(wrong) - set(before):  # as a kill between the two would leave them
        path.write_bytes(wrong[path])
    cv2.imwrite(str(new / "x.png"), photo(21, 12, 1))
    api.catalogue(run.path, "add", [str(new)], progress=Quiet())
    right = kept()
    assert all(right[path] != wrong[path] for path in set(wrong) - set(before))


def test_unknown_photos_are_grouped_into_proposed_individuals(run):
    before = names_in(run)
    only_told = api.catalogue(run.path, "group")
    assert "12 photos without a name" in only_told[0]
    assert names_in(run) == before
    api.catalogue(run.path, "group", write=True)
    after = names_in(run)
    changed = {image for image in after if after[image] != before[image]}
    assert changed
    assert all(before[image] == "new_whale" for image in changed)
    proposed = [after[image] for image in changed]
    assert set(proposed) == {line.split(":")[0] for line in only_told[1:]}
    assert min(proposed.count(name) for name in proposed) >= 2
    api.catalogue(run.path, "undo")  # one change, however many individuals
    assert names_in(run) == before


def test_mistakes_are_explained(run, tmp_path):
    with pytest.raises(TransectError, match="Did you mean 'merge'"):
        api.catalogue(run.path, "merg")
    with pytest.raises(TransectError, match="takes 2 words"):
        api.catalogue(run.path, "merge", ["a0"])
    with pytest.raises(TransectError, match="neither a catalogue"):
        api.catalogue(tmp_path, "log")
    shutil.copytree(run.path / "catalogue", tmp_path / "alone")
    with pytest.raises(TransectError, match=r"Give it: --run RUN"):
        api.catalogue(tmp_path / "alone", "add", [str(tmp_path)])


def test_individuals_of_a_catalogue_of_its_own_are_begun_asked_and_removed(run, asked, tmp_path):
    import cv2

    from tests.identify.conftest import photo

    book, first = tmp_path / "seals", tmp_path / "first"
    assert main(["catalogue", str(book), "new", "--run", str(run.path)]) == 0
    first.mkdir()
    names = ["image,identity"]
    for person in (20, 21):
        for encounter in (1, 2):
            cv2.imwrite(str(first / f"p{person}_{encounter}.png"), photo(person, encounter, 0))
            names.append(f"p{person}_{encounter}.png,n{person}")
    (first / "identities.csv").write_text("\n".join(names) + "\n")
    assert "4 photos added" in api.catalogue(book, "add", [str(first)])[0]
    (tmp_path / "ask").mkdir()
    cv2.imwrite(str(tmp_path / "ask" / "who.png"), photo(21, 7, 0))
    shutil.move(book, tmp_path / "moved")
    lines = api.catalogue(tmp_path / "moved", "ask", [str(tmp_path / "ask")])
    assert len(lines) == 1
    assert lines[0].startswith("who.png: n21 (")
    assert "a0" not in " ".join(lines)
    api.catalogue(tmp_path / "moved", "remove", ["p21_1.png", "p21_2.png"])
    assert "n21" not in api.catalogue(tmp_path / "moved", "ask", [str(tmp_path / "ask")])[0]
    assert "n21" not in " ".join(api.catalogue(tmp_path / "moved", "list"))
    with pytest.raises(TransectError, match="already holds a catalogue"):
        api.catalogue(tmp_path / "moved", "new", run=run.path)


def test_keypoints_travel_with_a_copied_catalogue_and_are_missed(run, asked, tmp_path):
    book = tmp_path / "copy"
    shutil.copytree(run.path / "catalogue", book)
    images = asked / "images"
    own = api.catalogue(run.path, "ask", [str(images)])
    assert api.catalogue(book, "ask", [str(images)], run=run.path) == own
    lost = next((book / "keypoints").rglob("*.npz"))
    lost.unlink()
    with pytest.raises(TransectError, match=r"1 photos of .*copy have no keypoints there"):
        api.catalogue(book, "ask", [str(images)], run=run.path)


def test_a_catalogue_of_other_networks_is_refused(run, asked, tmp_path):
    shutil.copytree(run.path, tmp_path / "other")
    changed = next((tmp_path / "other" / "members").rglob("projection0.npz"))
    changed.write_bytes(next((run.path / "members").rglob("fold1/projection0.npz")).read_bytes())
    (tmp_path / "other" / "files.json").unlink(missing_ok=True)
    with pytest.raises(TransectError, match="vectors of other networks"):
        api.catalogue(
            run.path / "catalogue", "ask", [str(asked / "images")], run=tmp_path / "other"
        )


def test_a_table_goes_out_and_comes_back_by_command(run, tmp_path):
    table = str(tmp_path / "names.csv")
    assert api.catalogue(run.path, "export", [table])[0].endswith(f"photos written to {table}")
    (tmp_path / "names.csv").write_text((tmp_path / "names.csv").read_text().replace("a0", "Otto"))
    assert "edit table names.csv, photos 6" in api.catalogue(run.path, "import", [table])[0]
    assert "Otto" in names_in(run).values()
