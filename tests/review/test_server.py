"""Who is let in, what is answered, and that everything is in the journal before it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.review.conftest import TOKEN
from tests.small import write_disc_survey
from transect.errors import TransectError
from transect.review.serve import serving
from transect.review.server import app_of


def client(desk, base="http://127.0.0.1:8000"):
    return TestClient(app_of(desk.session, TOKEN), base_url=base)


@pytest.mark.parametrize(
    "path", ["/", "/wrong/", "/wrong/api/review", "//api/review", "/api/review"]
)
def test_without_the_token_there_is_nothing(desk, path):
    answer = client(desk()).get(path)
    assert (answer.status_code, answer.text) == (404, "not found")


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com", "10.0.0.5:8000"])
def test_another_host_name_is_refused_even_with_the_token(desk, host):
    answer = client(desk()).get(f"/{TOKEN}/api/review", headers={"host": host})
    assert answer.status_code == 400
    assert "survey" not in answer.text


def test_another_origin_is_refused_even_with_the_token(desk):
    own = desk()
    asked = {"do": "accept", "image": "p0.png", "accepted": True}
    for origin, code in (("http://example.com", 404), ("http://127.0.0.1:8000", 200)):
        answer = client(own).post(f"/{TOKEN}/api/do", json=asked, headers={"origin": origin})
        assert answer.status_code == code
    assert own.session.sheets.count == 1


def test_a_form_of_another_page_cannot_send_commands(desk):
    answer = desk().client.post(f"/{TOKEN}/api/do", content='{"do": "undo"}')
    assert answer.status_code == 400
    assert "application/json" in answer.json()["error"]


def test_every_answer_forbids_other_places(desk):
    own = desk()
    answers = [own.get(""), own.get("api/review"), own.get("api/image"), own.client.get("/wrong/")]
    for answer in answers:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["../server.py", "..%2fserver.py", ".hidden.js", "bundle.json"])
def test_only_the_page_is_served_from_the_package(desk, name):
    answer = desk().get(name)
    assert answer.status_code == 404
    assert "import" not in answer.text


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "nothing.png", ""])
def test_only_images_of_the_survey_are_shown(desk, name):
    own = desk()
    for path in ("api/image", "crop", "tile/0/0/0"):
        answer = own.get(path, name=name)
        assert answer.status_code == 400
        assert "is no image of" in answer.json()["error"]


def test_a_tile_is_a_picture(desk):
    answer = desk().get("tile/0/0/0", name="p0.png")
    assert answer.headers["content-type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), 1)
    assert picture.shape[0] > 50


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"do": NaN}', b"\xff", b'{"do": "fly", "image": "p0.png"}', b"{}"]
)
def test_strange_commands_get_a_sentence(desk, body):
    own = desk()
    json = {"content-type": "application/json"}
    answer = own.client.post(f"/{TOKEN}/api/do", content=body, headers=json)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert own.session.sheets.count == 0


def test_an_endless_command_is_cut_off(desk):
    json = {"content-type": "application/json"}
    answer = desk().client.post(f"/{TOKEN}/api/do", content=b"x" * (5 << 20), headers=json)
    assert "too long" in answer.json()["error"]


def test_a_stroke_becomes_an_object_and_undo_takes_it_back(desk):
    own = desk()
    before = own.image("p0.png")["marks"]
    stroke = {"points": [[3, 3], [9, 3]], "radius": 2, "label": "object"}
    label = own.session.about()["classes"][0]
    answer = own.do("brush", "p0.png", **{**stroke, "label": label})
    new = answer["images"]["p0.png"]["marks"]
    assert [mark["label"] for mark in new] == [label]
    assert len(own.image("p0.png")["marks"]) == len(before) + 1
    assert answer["undo"] == "brush"
    assert own.do("undo")["redo"] == "brush"
    assert own.image("p0.png")["marks"] == before
    own.do("redo")
    assert len(own.image("p0.png")["marks"]) == len(before) + 1
    assert own.refused("redo") == "there is nothing to redo."


def test_after_a_restart_everything_is_there(desk):
    own = desk()
    label = own.session.about()["classes"][0]
    own.do("brush", "p0.png", points=[[3, 3]], radius=2, label=label)
    own.do("accept", "p1.png", accepted=True)
    own.do("undo")
    seen = own.session.about(), own.image("p0.png")
    desk.close()
    again = desk()
    assert (again.session.about(), again.image("p0.png")) == seen
    again.do("redo")
    again.do("undo")
    again.do("undo")
    assert again.session.about()["undo"] == ""


def test_new_objects_never_share_an_id(desk):
    own = desk("dots")
    mark = {"label": "pup", "dot": [3, 3]}
    ids = []
    for _ in range(3):
        answer = own.do("add", "p1.png", mark=mark)
        ids.append(answer["images"]["p1.png"]["marks"][0]["id"])
        own.do("undo")
    assert len(set(ids)) == 3


def test_undo_tells_only_what_changed(desk):
    """An image may have ten thousand objects; sending all of them again would take seconds."""
    own = desk("dots")
    own.do("drop", "p0.png", marks=["p0"])
    told = own.do("undo")["images"]["p0.png"]
    assert [mark["id"] for mark in told["marks"]] == ["p0"]
    assert told["ids"] == ["p0", "p1"]
    assert own.do("redo")["images"]["p0.png"]["marks"] == []


def test_split_and_merge_go_forth_and_back(desk):
    own = desk()
    mark = own.image("p0.png")["marks"][0]
    ring = np.array(mark["area"][0][0]).reshape(-1, 2)
    middle = float(ring[:, 0].mean())
    cut = [[middle, float(ring[:, 1].min()) - 2], [middle, float(ring[:, 1].max()) + 2]]
    pieces = own.do("split", "p0.png", mark=mark["id"], points=cut)["images"]["p0.png"]["marks"]
    assert len(pieces) == 2
    own.do("merge", "p0.png", marks=[piece["id"] for piece in pieces])
    now = {m["id"]: m for m in own.image("p0.png")["marks"]}
    assert now[mark["id"]]["area"] == mark["area"]
    assert "does not part" in own.refused(
        "split", "p0.png", mark=mark["id"], points=[[0, 0], [0, 1]]
    )


def test_dots_are_added_moved_relabelled_and_deleted(desk):
    own = desk("dots")
    first = own.image("p0.png")["marks"][0]
    own.do("move", "p0.png", mark=first["id"], to={"dot": [500, -3]})
    own.do("relabel", "p0.png", marks=[first["id"]], label="pup")
    moved = own.image("p0.png")["marks"][0]
    assert moved == {"id": first["id"], "label": "pup", "dot": [79.49, -0.5]}
    own.do("drop", "p0.png", marks=[first["id"]])
    assert len(own.image("p0.png")["marks"]) == 1
    own.do("add", "p0.png", mark={"label": "pup", "box": [20, 30, 10, 10]})
    assert own.image("p0.png")["marks"][-1]["box"] == [10, 10, 20, 30]
    assert "Did you mean 'pup'" in own.refused(
        "add", "p0.png", mark={"label": "pupp", "dot": [1, 1]}
    )
    assert "no masks" in own.refused("brush", "p0.png", points=[[1, 1]], radius=1, label="pup")


def test_uniting_renames_every_photo_and_is_one_step(desk):
    own = desk("individuals")
    answer = own.do("unite", "p0.png", gone="Ada", kept="Bo")
    assert set(answer["images"]) == {"p0.png", "p1.png"}
    names = [own.image(f"p{i}.png")["marks"][0]["label"] for i in range(5)]
    assert names == ["Bo", "Bo", "Bo", "unknown", "Cy"]
    own.do("undo")
    assert own.image("p1.png")["marks"][0]["label"] == "Ada"
    assert "no photo shows" in own.refused("unite", "p0.png", gone="Zoe", kept="Bo")


def test_one_label_takes_the_place_of_another(desk):
    own = desk("labels")
    own.do("label", "p0.png", label="sand")
    assert [m["label"] for m in own.image("p0.png")["marks"]] == ["sand"]
    assert own.do("label", "p0.png", label="sand")["images"] == {}
    own.do("label", "p0.png", label="reef", several=True)
    own.do("label", "p0.png", label="sand", several=True)
    assert [m["label"] for m in own.image("p0.png")["marks"]] == ["reef"]


def test_lines_join_what_two_photos_share(desk, tmp_path):
    own = desk("individuals")
    texture = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    texture = cv2.resize(texture, (600, 400), interpolation=cv2.INTER_CUBIC)
    for name in ("p0.png", "p1.png"):
        cv2.imwrite(str(tmp_path / "individuals" / "images" / name), texture)
    lines = own.get("api/matches", name="p0.png", other="p1.png").json()["lines"]
    assert len(lines) >= 8
    assert np.abs(np.array(lines)[:, :2] - np.array(lines)[:, 2:]).max() < 0.02
    assert own.get("api/matches", name="p0.png", other="p2.png").json()["lines"] == []


def test_a_second_process_is_kept_out_of_one_persons_part(desk):
    desk()
    with pytest.raises(TransectError, match="in use"):
        desk()
    desk(name="other")


def test_other_data_are_refused(desk, tmp_path):
    own = desk("dots")
    own.do("accept", "p0.png", accepted=True)
    desk.close()
    (tmp_path / "dots" / "points.csv").write_text("image,x,y,class\np0.png,1,1,pup\n")
    with pytest.raises(TransectError, match=r"begun on \(points.csv differs\)"):
        desk("dots")


def test_two_people_are_kept_apart_and_compared(desk):
    one, two = desk("individuals", name="ann"), desk("individuals", name="ben")
    for i in range(5):
        one.do("accept", f"p{i}.png", accepted=True)
    for i in range(4):
        two.do("accept", f"p{i}.png", accepted=True)
    two.do("relabel", "p2.png", marks=["i0"], label="Ada")
    assert one.image("p2.png")["marks"][0]["label"] == "Bo"
    (found,) = one.get("api/agreement").json()["people"]
    assert (found["who"], found["images"]) == ("ben", 4)
    assert found["measures"]["same"] == 0.75


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".", "-x", "a b", "x" * 41])
def test_a_name_that_is_no_folder_is_refused(desk, name):
    with pytest.raises(TransectError, match="--name must be"):
        desk(name=name)


def test_a_review_is_served_until_its_block_is_left(tmp_path):
    """By a socket of this machine alone, under another address each time."""
    import httpx2

    import transect

    write_disc_survey(tmp_path / "survey", count=2)
    addresses = []
    for _ in range(2):
        with transect.review(tmp_path / "survey", out=tmp_path / "kept") as address:
            assert address.startswith("http://127.0.0.1:")
            assert httpx2.get(f"{address}api/review").json()["survey"] == "survey"
            assert httpx2.get(address[: address.index("/", 8)] + "/").status_code == 404
        addresses.append(address.rsplit("/", 2)[1])
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(address)
    assert addresses[0] != addresses[1]
    assert min(map(len, addresses)) >= 32


def test_a_port_in_use_is_said(tmp_path, desk):
    with serving(desk().session) as address:
        port = int(address.split(":")[2].split("/")[0])
        with (
            pytest.raises(TransectError, match=r"Choose another --port"),
            serving(desk(name="ben").session, port=port),
        ):
            pass
