"""The four surveys, the smallest recipes that have every stage, and where those stages live."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["QUESTIONS", "Question"]

_HEAD = '''
"""The smallest recipe that has every stage."""

from transect.recipe import (
    ClassifyDecide, CountDecide, Embedding, Folds, Geometry, IdentifyDecide, Member, Network,
    Optimizer, PseudoRound, Recipe, Schedule, SegmentDecide, Stage,
)

optimizer = Optimizer(lr=3e-3)
'''
_SEGMENT = """
network = Network(encoder="plain", weights=None, decoder="unet", width=4, levels=2, norm="group")
stages = (
    Stage(name="first", epochs=3, batch=8, steps=3, loss="bce + dice", keep="best_k", keep_k=2,
          average="swa", optimizer=optimizer, schedule=Schedule(name="cosine")),
    Stage(name="pseudo", epochs=2, batch=8, steps=2, data="mixed", average="ema", ema=0.8,
          optimizer=optimizer),
)
recipe = Recipe(
    name="torture", question="segment",
    members=(Member(network=network, geometry=Geometry(size_hw=(32, 32)), stages=stages),),
    folds=Folds(count=2), views=("identity", "hflip"),
    pseudo=(PseudoRound(confidence=0.0),), decide=SegmentDecide(),
)
"""
_COUNT = """
network = Network(encoder="plain", weights=None, width=6, levels=2, decoder_channels=(8,),
                  norm="group")
stages = (
    Stage(name="first", epochs=2, steps=6, batch=4, loss="bce", sampler="object",
          sampler_share=0.5, keep="best_k", keep_k=2, average="swa", optimizer=optimizer),
    Stage(name="last", epochs=2, steps=4, batch=4, loss="bce", average="ema", ema=0.8,
          optimizer=optimizer),
)
recipe = Recipe(
    name="torture", question="count",
    members=(Member(network=network, geometry=Geometry(fit="tile", size_hw=(48, 48), overlap=0.25),
                    stages=stages),),
    folds=Folds(count=2, use=2, stratify=("count",), group=False),
    decide=CountDecide(target="gaussian", target_px=2.5, downscale=2, window=16, stride=8,
                       merge_classes=True, regressors=("extratrees_small",), test_scale="none"),
)
"""
_IDENTIFY = """
network = Embedding(backbone="efficientnet_lite0", dim=16, neck="bn", project="lda")
stages = (
    Stage(name="first", epochs=2, steps=2, batch=8, sampler="identity", per_identity=2,
          loss="ce", keep="best_k", keep_k=2, average="swa", optimizer=optimizer),
    Stage(name="last", epochs=1, steps=2, batch=8, sampler="identity", per_identity=2,
          loss="ce", average="ema", ema=0.8, optimizer=optimizer),
)
recipe = Recipe(
    name="torture", question="identify",
    members=(Member(network=network, geometry=Geometry(size_hw=(32, 64)), stages=stages),),
    folds=Folds(count=2),
    decide=IdentifyDecide(sources=("embedding", "geometry"), fuse="logistic", keypoints=60,
                          keypoint_side=128, min_matches=6, policies=("constant", "quantile")),
)
"""
_CLASSIFY = """
linear = Embedding(backbone="efficientnet_lite0", head="linear", neck="none", pooling="avg")
begun = Embedding(backbone="efficientnet_lite0", head="linear", neck="none", pooling="gem",
                  head_start="logistic")
stages = (
    Stage(name="last", epochs=2, steps=2, batch=8, loss="ce", freeze="all_but_head",
          sampler="class_aware", keep="best_k", keep_k=2, average="swa", optimizer=optimizer),
    Stage(name="all", epochs=1, steps=2, batch=8, loss="focal + kappa", mixup=0.3, augment_rare=0.5,
          average="ema", ema=0.8, optimizer=optimizer),
)
geometry = Geometry(fit="whole", size_hw=(32, 32))
recipe = Recipe(
    name="torture", question="classify",
    members=(Member("frozen", linear, geometry, stages=()),
             Member("trained", begun, geometry, stages=stages)),
    folds=Folds(count=2, stratify=("class",)), views=("identity", "hflip"),
    decide=ClassifyDecide(metric="macro_f1"),
)
"""
_ALWAYS = (
    ("reading", ("transect.data.survey:open_survey",)),
    ("auditing", ("transect.audit.stored:audit_once",)),
    ("training", ("transect.train.engine:_Fit._train_epoch",)),
    (
        "snapshot",
        ("transect.train.checkpoint:save_tensors", "transect.train.checkpoint:write_state"),
    ),
    ("averaging", ("transect.train.engine:_Fit._average", "transect.train.engine:_Fit._leave")),
)


@dataclass(frozen=True)
class Question:
    """What is tortured.

    Attributes:
        name: The question.
        recipe: The text of its recipe file.
        stages: (name, the functions that are the stage as ``module:name``), in the story's order.
    """

    name: str
    recipe: str
    stages: tuple[tuple[str, tuple[str, ...]], ...]

    def write_survey(self, root: Path) -> None:
        """Write the survey; the same bytes each time."""
        if self.name == "segment":
            from transect.simulate.salt import write_salt_survey

            write_salt_survey(root, n_train=24, n_test=6, seed=3, size_hw=(32, 32))
        elif self.name == "count":
            from transect.simulate.colony import write_colony_survey

            write_colony_survey(
                root, n_train=8, n_test=2, seed=2, size_hw=(96, 128), scale=0.25, animals=12
            )
        elif self.name == "classify":
            from transect.simulate.plankton import write_plankton_survey

            write_plankton_survey(root, n_train=48, n_test=6, seed=2, size_px=32)
        else:
            from transect.simulate.flukes import write_fluke_survey

            write_fluke_survey(root, identities=8, images=48, seed=1, size_hw=(64, 128))


def _stages(
    question: str, *own: tuple[str, tuple[str, ...]]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    kind = f"transect.{question}.task:{question.capitalize()}Task"
    prepare = ("decoding", (f"{kind}.dataset",))
    return (_ALWAYS[0], prepare, *_ALWAYS[1:], *own)


QUESTIONS = (
    Question(
        "segment",
        _HEAD + _SEGMENT,
        _stages(
            "segment",
            ("pseudo-labels", ("transect.segment.pseudo:label_round",)),
            ("views", ("transect.segment.choosing:choose",)),
            ("out-of-fold", ("transect.segment.oof:predict_held_out",)),
            ("deciding", ("transect.segment.deciding:decide_out_of_fold",)),
            ("report", ("transect.pipeline.report:write_report",)),
        ),
    ),
    Question(
        "count",
        _HEAD + _COUNT,
        _stages(
            "count",
            ("out-of-fold", ("transect.count.maps:predict_held_out",)),
            ("deciding", ("transect.count.deciding:decide_out_of_fold",)),
            (
                "regressors",
                (
                    "transect.tabular.regressors:fit_regressor",
                    "transect.tabular.regressors:save_regressor",
                ),
            ),
            ("report", ("transect.pipeline.report:write_report",)),
        ),
    ),
    Question(
        "identify",
        _HEAD + _IDENTIFY,
        _stages(
            "identify",
            ("out-of-fold", ("transect.identify.oof:look_at_photos",)),
            (
                "geometry",
                (
                    "transect.identify.geometry:match_rows",
                    "transect.identify.geometry:fit_geometry",
                ),
            ),
            ("deciding", ("transect.identify.deciding:decide_out_of_fold",)),
            ("catalogue", ("transect.identify.facts:write_catalogue",)),
            ("report", ("transect.pipeline.report:write_report",)),
        ),
    ),
    Question(
        "classify",
        _HEAD + _CLASSIFY,
        _stages(
            "classify",
            ("vectors", ("transect.classify.members:keep_vectors",)),
            ("out-of-fold", ("transect.classify.oof:predict_held_out",)),
            ("deciding", ("transect.classify.oof:decide_out_of_fold",)),
            ("worst images", ("transect.classify.concluding:keep_worst",)),
            ("report", ("transect.pipeline.report:write_report",)),
        ),
    ),
)
