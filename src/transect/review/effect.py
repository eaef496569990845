"""What corrections brought: both runs' out-of-fold answers to the corrected images, compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transect.files import read_json
from transect.review.agreement import Pair, agreement
from transect.review.corrected import CORRECTIONS
from transect.review.held_out import HeldOut
from transect.review.start import Start
from transect.run import RunFolder
from transect.types import Survey

__all__ = ["effect_lines"]

_FALLS = ("difference",)  # measures of which less is better


def effect_lines(survey: Survey, run: RunFolder) -> list[str]:
    """Say how many images were corrected, and how the score on them was before and is now.

    Both runs answer by networks that did not see the image, both are compared with the corrected
    annotation, on the corrected images that both held out. Leaves ``corrections.json`` in the run.

    Args:
        survey: That the run was trained on; it says where it comes from if it was corrected.
        run: Just finished.

    Returns:
        Lines for people; none for a survey that no review corrected.
    """
    path = survey.root / CORRECTIONS
    if not path.is_file():
        return []
    said = dict(read_json(path))
    names = [str(name) for name in said["corrected"]]
    lines = [f"corrected: {len(names)} of {said['images']} images, by {said['who']}"]
    found: dict[str, Any] = {"corrected": len(names), "images": said["images"], "who": said["who"]}
    first = None if said["run"] is None else survey.root / str(said["run"])
    if first is not None and (first / "recipe.json").is_file():
        before, after = HeldOut(first, survey), HeldOut(run.path, survey)
        both = [name for name in names if before.held(name) and after.held(name)]
        scores = {
            "before": _score(survey, before, both),
            "after": _score(survey, after, both),
        }
        found |= {"compared": len(both), **scores}
        for name, value in scores["before"].items():
            if (now := scores["after"].get(name)) is not None:
                better = "less" if name in _FALLS else "more"
                lines.append(
                    f"on {len(both)} corrected images, out of fold: {name} {value:.3f} before, "
                    f"{now:.3f} after ({better} is better)"
                )
        if not both:
            lines.append("no corrected image was held out by both runs: nothing to compare")
    run.write_json(CORRECTIONS, found)
    return lines


def _score(survey: Survey, held_out: HeldOut, names: Sequence[str]) -> dict[str, float]:
    """How far a run's answers agree with the corrected annotation."""
    start = Start(survey)
    images = {image.name: image for image in survey.images}
    pairs = []
    for name in names:
        answer = [mark for mark, _ in held_out.answer(images[name])]
        if start.surface in ("individuals", "labels"):
            answer = answer[:1]  # the others are less likely candidates
        pairs.append(Pair(images[name].size_hw, answer, start.marks(images[name])))
    return agreement(pairs, start.surface, survey.classes or ("object",))
