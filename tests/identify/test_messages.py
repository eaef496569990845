"""The messages of recognising, one by one."""

import dataclasses

import numpy as np
import pytest

from tests.identify.conftest import TINY, with_decide
from tests.small import write_disc_survey
from transect.catalogue.store import Catalogue
from transect.data.survey import open_survey
from transect.errors import TransectError
from transect.identify import recogniser, training
from transect.identify.deciding import Decisions, decide_out_of_fold
from transect.identify.identifier import Identifier
from transect.identify.oof import OutOfFold, fold_model
from transect.identify.photos import subjects_of
from transect.identify.projection import load_projection
from transect.identify.scorers import fit_projections, source_names
from transect.identify.source_ablation import decided_by
from transect.openset import search
from transect.openset.evidence import UNKNOWN, check_truth, evidence_from_scores
from transect.recipe import Embedding, Member, Network, Recipe, Stage
from transect.run import RunFolder
from transect.types import Quiet


def test_tables_of_catalogues_that_cannot_be_taken(tmp_path):
    book = Catalogue.create(tmp_path / "c", about={})
    table = tmp_path / "names.csv"
    table.write_text("image,who\na.png,x\n")
    with pytest.raises(TransectError, match="must have the columns"):
        book.take_names(table)
    table.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TransectError, match="cannot be read"):
        book.take_names(table)
    with pytest.raises(TransectError, match="is missing"):
        Catalogue.open(tmp_path)


def test_runs_that_recognise_nobody(tiny_run, tmp_path):
    with pytest.raises(TransectError, match="holds no decision about individuals"):
        Decisions.from_json({})
    RunFolder(tmp_path / "run").begin(Recipe(), {})
    with pytest.raises(TransectError, match="does not recognise individuals"):
        Identifier(RunFolder(tmp_path / "run"), device="cpu")
    Catalogue.create(tmp_path / "empty", about={"layout": []})
    nobody = Identifier(tiny_run, device="cpu", catalogue=tmp_path / "empty")
    with pytest.raises(TransectError, match="knows no individual"):
        nobody.score(None, Quiet())


def test_surveys_without_identities(tmp_path):
    survey = open_survey(write_disc_survey(tmp_path / "s"))
    with pytest.raises(TransectError, match=r"has no identities.csv"):
        subjects_of(survey)


def test_nothing_to_learn_recognising_from(photos, tmp_path):
    one = np.zeros(1, np.int64)
    nobody = OutOfFold(one, one, one + UNKNOWN, None)
    with pytest.raises(TransectError, match="photos of two encounters, so nothing"):
        decide_out_of_fold(RunFolder(tmp_path), TINY, photos, nobody, np.array(["a"]), Quiet())
    nothing = evidence_from_scores(np.zeros((0, 3)))
    with pytest.raises(TransectError, match="no query is left"):
        check_truth(nothing, np.zeros(0, np.int64))


def test_sources_and_projections_that_are_unknown(tiny_run, photos, tmp_path):
    with pytest.raises(TransectError, match="no source of scores"):
        source_names(with_decide(TINY, sources=("siamese",)))

    class Held:
        class scores:
            class candidates:
                sources = ("frozen",)

    with pytest.raises(TransectError, match="a source must be one of"):
        decided_by(("nope",), Held, TINY, None)
    member = TINY.members[0]
    network = dataclasses.replace(member.network, project="nope")
    fold = fold_model(tiny_run, dataclasses.replace(member, network=network), 0)
    with pytest.raises(TransectError, match="project of member"):
        fit_projections(fold, [], np.zeros(1, np.int64))
    (tmp_path / "a.npz").write_bytes(b"x")
    with pytest.raises(TransectError, match="holds no projection"):
        load_projection(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", centre=np.zeros(2), matrix=np.zeros((3, 1)))
    with pytest.raises(TransectError, match="of a wrong shape"):
        load_projection(tmp_path / "b.npz")


def test_codes_that_do_not_divide_vectors(monkeypatch):
    class Faiss:
        METRIC_INNER_PRODUCT = 0

        @staticmethod
        def IndexFlatIP(dim):
            return None

    monkeypatch.setattr(search, "_faiss", lambda: Faiss)
    with pytest.raises(TransectError, match="do not divide vectors of 6"):
        search.IndexedGallery.build(np.zeros((39 * 256, 6), np.float32), code_bytes=4)


def test_networks_and_losses_that_do_not_fit(photos):
    member = Member(network=Network())
    with pytest.raises(TransectError, match="has a dense network"):
        training.embedding_of(member)
    with pytest.raises(TransectError, match="whose loss is bce"):
        recogniser.pair_step(Stage(loss="dice"))
    trained = Member(network=Embedding(), stages=(Stage(loss="ce"),))
    nobody = np.flatnonzero(photos.named() == photos.unknown)
    with pytest.raises(TransectError, match="at least two individuals; this part"):
        training.fit_fold(photos, trained, nobody, folder=None, seed=0, device="cpu")
    with pytest.raises(TransectError, match="two individuals with two photos"):
        training._pair_batches(
            photos, trained, Stage(), np.arange(2), np.array([0, 1]), 0, "cpu", None
        )


@pytest.mark.parametrize(("loss", "words"), [("ce", "a margin head"), ("bce_hard", "needs a head")])
def test_losses_need_a_head(loss, words):
    import torch

    class Bare:
        plain_head, head = False, None
        losses: dict = {}  # noqa: RUF012

    terms = recogniser._parsed(loss) if loss == "ce" else None
    if terms is None:

        class On:
            on = "logits"

        class Term:
            name, parameters, weight = "bce", {}, 1.0

        class Terms:
            terms = (Term,)

        Bare.losses = {recogniser._key("bce", {}): On}
        terms = Terms
    found = {"embedding": torch.zeros(2, 3), "features": torch.zeros(2, 3)}
    with pytest.raises(TransectError, match=words):
        recogniser._sum(terms, Bare, found, torch.tensor([0, 1]), {})
