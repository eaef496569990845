"""What is kept of a training for its report: doubtful labels, and the worst images looked into."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transect.audit import doubtful_labels, keep_doubts
from transect.augment import augment_sample
from transect.classify.attention import attention_map
from transect.classify.dataset import LabelledImages
from transect.classify.forward import whole_window
from transect.classify.members import MemberModels, facts_of
from transect.classify.network import Classifier
from transect.classify.oof import decision_of, members_in_order
from transect.data.inputs import Inputs
from transect.data.png import write_png
from transect.recipe import Augment, Member, Recipe
from transect.report.pictures import heat, shown, side_by_side
from transect.run import RunFolder
from transect.task import Rows, Work
from transect.types import Sample

__all__ = ["ALBUM", "WORST", "keep_doubtful_labels", "keep_worst"]

ALBUM, WORST = "album", "worst.json"
_SHOWN = 16
_HEIGHT_PX = 160


def keep_doubtful_labels(run: RunFolder, rows: Rows) -> None:
    """Note labels that confident out-of-fold answers contradict; of several labels each alone."""
    p, truth = np.asarray(rows["p"], np.float64), rows["truth"].astype(bool)
    classes = run.read_json("inputs.json")["classes"]
    if run.read_json("inputs.json")["label_kind"] != "several":
        keep_doubts(doubtful_labels(p, truth.argmax(axis=1), rows.names), run.path)
        return
    found = []
    for c, name in enumerate(classes):
        pair = np.stack([1 - p[:, c], p[:, c]], axis=1)
        names = [f"{image} ({name})" for image in rows.names]
        found += doubtful_labels(pair, truth[:, c].astype(np.int64), names)
    keep_doubts(found, run.path)


def keep_worst(work: Work[LabelledImages], rows: Rows) -> None:
    """Write the images whose truth was given the least probability, with what was looked at."""
    facts = facts_of(work.run, work.recipe)
    truth, p = rows["truth"].astype(bool), np.asarray(rows["p"], np.float64)
    chance = np.where(truth, p, 1 - p if facts.kind == "several" else 1.0).min(axis=1)
    wrong = (rows["said"].astype(bool) != truth).any(axis=1)
    order = np.lexsort((np.array(rows.names), chance, ~wrong))[:_SHOWN].tolist()
    member = _looked_into(work.run, work.recipe)
    number = {image.name: i for i, image in enumerate(work.dataset.images)}
    models: dict[int, Classifier] = {}
    told: list[dict[str, Any]] = []
    for place, row in enumerate(order):
        name, fold = rows.names[row], int(rows.folds[row])
        if fold not in models:
            own = MemberModels(work.run, work.recipe, member, facts, (fold,), work.device)
            models[fold] = own.classifier(fold)
        looked = int((np.where(rows["said"][row], p[row], -1)).argmax())
        inputs = facts.inputs[member.name]
        picture = _looked_at(work, models[fold], inputs, number[name], looked)
        file = f"worst{place:02d}.png"
        write_png(work.run.path / ALBUM / file, picture)
        told.append(
            {
                "file": file,
                "image": name,
                "truth": _names(facts.classes, truth[row]),
                "said": _names(facts.classes, rows["said"][row].astype(bool)),
                "chance": float(chance[row]),
                "wrong": bool(wrong[row]),
            }
        )
    counts = work.dataset.truth.sum(axis=0).tolist()
    work.run.write_json(
        WORST,
        {
            "member": member.name,
            "images": told,
            "wrong": int(wrong.sum()),
            "counts": dict(zip(facts.classes, counts, strict=True)),
            "external": int(work.dataset.external.sum()),
        },
    )


def _looked_into(run: RunFolder, recipe: Recipe) -> Member:
    """The member that answers, or the last of those that answer together."""
    source, members = decision_of(run).source, members_in_order(recipe)
    return next((m for m in members if m.name == source), members[-1])


def _looked_at(
    work: Work[LabelledImages], model: Classifier, inputs: Inputs, i: int, output: int
) -> NDArray[np.uint8]:
    """An image, and beside it what spoke for an output."""
    dataset = work.dataset
    pixels, geometry = dataset.pixels[i], inputs.geometry
    sample = augment_sample(
        Sample(pixels),
        Augment(),
        np.random.default_rng(0),
        out_hw=geometry.size_hw,
        window=whole_window(pixels.shape[:2], geometry.aspect),
    )
    x = inputs.prepare(sample.image, dataset.images[i])
    looked = attention_map(model, x, output, device=work.device)
    seen = heat(sample.image, looked)
    return side_by_side([shown(pixels), seen], height_px=_HEIGHT_PX)


def _names(classes: tuple[str, ...], marks: NDArray[np.bool_]) -> str:
    """Labels in words."""
    return ", ".join(c for c, there in zip(classes, marks.tolist(), strict=True) if there) or "none"
