"""What a report on labels shows beyond the common frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from transect.classify.concluding import ALBUM, WORST
from transect.classify.deciding import TRIVIAL, Decision
from transect.classify.oof import decision_of
from transect.classify.rules import metric_of
from transect.classify.scoring import per_label
from transect.data.images import read_image
from transect.metrics import title_of
from transect.metrics.calibration import expected_calibration_error, reliability
from transect.metrics.classify import confusion
from transect.metrics.score import spread_text
from transect.recipe import ClassifyDecide
from transect.report import charts
from transect.report.page import Page
from transect.run import RunFolder
from transect.task import Rows, Section
from transect.types import LabelKind

__all__ = ["advice_of", "card_of", "headline_of", "sections_of"]

_NEAR = 0.01  # of the main metric: a source within it of the one that answers


def sections_of(run: RunFolder) -> Sequence[Section]:
    """Labels, confusion and reliability, sources, the worst images."""
    return (
        Section("data", lambda page: _labels(page, run)),
        Section("score", lambda page: _confusion(page, run)),
        Section("score", lambda page: _reliability(page, run)),
        Section("decisions", lambda page: _decision(page, run)),
        Section("examples", lambda page: _worst(page, run)),
    )


def headline_of(run: RunFolder) -> list[tuple[str, str, str]]:
    """The main score, the trivial answer beside it, and what answers."""
    metrics, decision = run.read_json("metrics.json"), decision_of(run)
    name = next(iter(metrics))
    return [
        (title_of(name), f"{metrics[name]['value']:.3f}", spread_text(metrics[name])),
        ("without looking", f"{decision.scores[TRIVIAL]:.3f}", "the commonest answer"),
        ("answers", decision.source, "chosen out of fold"),
    ]


def advice_of(run: RunFolder) -> list[str]:
    """What to try next, by the sources and the labels."""
    decision, lines = decision_of(run), []
    recipe = run.recipe()
    untrained = {member.name for member in recipe.members if not member.stages}
    if decision.source in untrained and len(untrained) < len(recipe.members):
        lines.append(
            "Training did not better the network as it came, so that one answers: a longer "
            "--budget gives training a chance."
        )
    if decision.source == TRIVIAL:
        lines.append("Nothing beats the commonest answer: look whether labels and images fit.")
    counts = run.read_json(WORST)["counts"]
    rare = [name for name, n in counts.items() if n < 10]
    if rare:
        lines.append(f"Fewer than 10 images of {', '.join(rare[:5])}: more of them help most.")
    return lines


def card_of(run: RunFolder) -> dict[str, Any]:
    """What the model card says of labels."""
    decision, kept = decision_of(run), run.read_json(WORST)
    return {
        "use": "Labels are for images like the survey's: same kind of subject, camera and distance."
        " Every image gets an answer, also one that shows nothing of the kind.",
        "data": [f"{n:.0f} images with label {name}" for name, n in kept["counts"].items()],
        "decision": {"source": decision.source, "rule": _rule_words(run, decision)},
    }


def _kind(run: RunFolder) -> LabelKind:
    kind: LabelKind = run.read_json("inputs.json")["label_kind"]
    return kind


def _rows(run: RunFolder) -> Rows:
    return Rows.load(run.path / "oof" / "rows.npz")


def _labels(page: Page, run: RunFolder) -> None:
    """How many images each label has."""
    kept = run.read_json(WORST)
    counts = {str(name): float(n) for name, n in kept["counts"].items()}
    page.figure(
        charts.bars(dict(sorted(counts.items(), key=lambda item: -item[1])), title="Images"),
        "Images with each label.",
    )
    if kept["external"]:
        page.text(f"{kept['external']} external images are trained on and not scored.")


def _confusion(page: Page, run: RunFolder) -> None:
    """What is taken for what, and every label by itself."""
    rows, kind = _rows(run), _kind(run)
    classes = run.read_json("inputs.json")["classes"]
    if kind != "several":
        table = confusion(rows["said"].argmax(axis=1), rows["truth"].argmax(axis=1), len(classes))
        page.figure(
            charts.matrix(table, classes, title="What was taken for what"),
            "Out of fold, every image by a decision that had not seen it."
            + (" The 12 labels with most images." if len(classes) > 12 else ""),
        )
    page.table(
        ["label", "images", "precision", "recall", "F1", "area under curve"],
        [
            [
                name,
                int(one["images"]),
                *(None if np.isnan(v) else round(v, 3) for v in list(one.values())[1:]),
            ]
            for name, one in zip(classes, per_label(rows, kind), strict=True)
        ],
        folded="Every label by itself",
    )


def _reliability(page: Page, run: RunFolder) -> None:
    """Whether the probabilities can be believed."""
    rows = _rows(run)
    p, truth = np.asarray(rows["p"], np.float64), rows["truth"].astype(bool)
    if _kind(run) != "several":
        top = p.argmax(axis=1)
        p, truth = p.max(axis=1), truth[np.arange(len(top)), top]
    found = reliability(p, truth)
    gap = expected_calibration_error(p, truth)
    page.figure(
        charts.reliability_diagram(
            found.said, found.came, found.count, title="Said probability and what came true"
        ),
        f"On the diagonal, probabilities are true; the mean gap is {gap:.3f}.",
    )


def _decision(page: Page, run: RunFolder) -> None:
    """Sources compared, and the rule."""
    decision, decide = decision_of(run), run.recipe().decide
    assert isinstance(decide, ClassifyDecide)
    metric = metric_of(decide, _kind(run))
    page.section(
        "What was compared",
        lead=f"Every source by {metric} on images that neither it nor its rule had seen; of equal "
        "ones the simplest answers.",
    )
    if metric == "log_loss":
        rows = [[name, f"{-score:.4f}"] for name, score in decision.scores.items()]
        page.table(["source", metric], rows, best=list(decision.scores).index(decision.source))
    else:
        page.figure(
            charts.bars(decision.scores, title=f"Sources by {metric}"),
            f"{decision.source} answers; {TRIVIAL} gives every image the commonest answer.",
        )
    for line in _rule_words(run, decision):
        page.text(line)


def _rule_words(run: RunFolder, decision: Decision) -> list[str]:
    """The rule in sentences."""
    rule, classes = decision.rule, run.read_json("inputs.json")["classes"]
    kind = "none" if rule.calibration is None else rule.calibration.kind
    lines = [f"Calibration: {kind}."]
    if rule.kind == "several":
        if len(set(rule.numbers)) == 1:
            return [*lines, f"A label is given from a probability of {rule.numbers[0]:.3f}."]
        each = zip(classes, rule.numbers, strict=True)
        return [*lines, "Thresholds: " + ", ".join(f"{c} {t:.3f}" for c, t in each) + "."]
    if rule.kind == "grades":
        cuts = ", ".join(f"{cut:.2f}" for cut in rule.numbers)
        return [*lines, f"Grades part at {cuts} of the expected grade (0 is {classes[0]})."]
    if len(set(rule.numbers)) > 1:
        lines.append(
            "Probabilities are weighed by the rarity of the label before the largest wins."
        )
    return lines


def _worst(page: Page, run: RunFolder) -> None:
    """The images whose truth was given the least probability."""
    kept = run.read_json(WORST)
    page.section(
        "Worst images",
        lead="Wrong answers first, by the probability that the truth was given. Beside each image "
        f"what spoke for the answer, in the last level of {kept['member']} (Grad-CAM).",
    )
    rows = len(_rows(run))
    page.text(f"{kept['wrong']} of {rows} images did not get exactly their labels.")
    pictures = []
    for one in kept["images"]:
        path = run.path / ALBUM / str(one["file"])
        if path.is_file():
            words = f"{one['image']}: is {one['truth']} ({one['chance']:.2f}), said {one['said']}"
            pictures.append((read_image(path), words))
    if pictures:
        page.pictures(pictures, large=True)
