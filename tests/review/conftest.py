"""Small surveys of each kind, and a review of them behind the server's own address."""

from __future__ import annotations

import csv
from contextlib import ExitStack

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.small import write_disc_survey
from transect.data.survey import open_survey
from transect.review.server import app_of
from transect.review.session import opened

TOKEN = "a-long-and-random-token"


def write_rows(path, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_pictures(root, count, size_hw=(60, 80)):
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(1)
    for i in range(count):
        pixels = rng.integers(0, 255, (*size_hw, 3)).astype(np.uint8)
        cv2.imwrite(str(root / "images" / f"p{i}.png"), pixels)


def dotted(root):
    """Three photos: two dots of two classes, one dot, none."""
    write_pictures(root, 3)
    rows = [("p0.png", 10, 12, "adult"), ("p0.png", 30.5, 40, "pup"), ("p1.png", 5, 5, "pup")]
    write_rows(root / "points.csv", ("image", "x", "y", "class"), *rows)
    return root


def named(root):
    """Five photos of three individuals, one of them unknown."""
    write_pictures(root, 5)
    names = ["Ada", "Ada", "Bo", "unknown", "Cy"]
    rows = [(f"p{i}.png", name) for i, name in enumerate(names)]
    write_rows(root / "identities.csv", ("image", "identity"), *rows)
    return root


def labelled(root):
    write_pictures(root, 4)
    rows = [("p0.png", "reef"), ("p1.png", "sand"), ("p2.png", "sand"), ("p3.png", "reef")]
    write_rows(root / "labels.csv", ("image", "label"), *rows)
    return root


MAKERS = {"masks": write_disc_survey, "dots": dotted, "individuals": named, "labels": labelled}


class Desk:
    """A browser's view of the server, without a browser."""

    def __init__(self, session):
        self.session = session
        self.client = TestClient(app_of(session, TOKEN), base_url="http://127.0.0.1:8000")

    def get(self, path, **query):
        return self.client.get(f"/{TOKEN}/{path}", params=query)

    def image(self, name):
        return self.get("api/image", name=name).json()

    def do(self, word, image=None, **more):
        answer = self.client.post(f"/{TOKEN}/api/do", json={"do": word, "image": image, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, word, image=None, **more):
        answer = self.client.post(f"/{TOKEN}/api/do", json={"do": word, "image": image, **more})
        assert answer.status_code == 400, answer.text
        return answer.json()["error"]


@pytest.fixture
def desk(tmp_path):
    """Opens a review of a survey of some kind; again on the same folder, it goes on."""
    with ExitStack() as stack:

        def begin(kind="masks", *, name="me", **options):
            root = tmp_path / kind
            if not root.exists():
                MAKERS[kind](root, **options)
            survey = open_survey(root, missing=None)
            session = stack.enter_context(opened(survey, tmp_path / "review", name=name))
            return Desk(session)

        begin.close = stack.close
        yield begin
