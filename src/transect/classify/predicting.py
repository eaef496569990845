"""New images: decoded, asked in portions, answered by the decision of the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transect.classify.dataset import decoded
from transect.classify.members import MemberModels, facts_of
from transect.classify.oof import decision_of, members_in_order
from transect.data.folder import in_threads
from transect.errors import TransectError
from transect.run import RunFolder
from transect.task import NewImages, used_folds
from transect.types import Image, LabelKind, Problem, Progress

__all__ = ["Labeller", "Labels"]

_PORTION = 64  # images decoded at once


@dataclass(frozen=True)
class Labels:
    """The answer to one image.

    Attributes:
        classes: All labels.
        kind: single, several or grades.
        p: (C,) calibrated probabilities.
        said: (C,) which labels it gets.
    """

    classes: tuple[str, ...]
    kind: LabelKind
    p: NDArray[np.float64]
    said: NDArray[np.bool_]

    @property
    def names(self) -> tuple[str, ...]:
        """The labels that it gets."""
        return tuple(c for c, there in zip(self.classes, self.said.tolist(), strict=True) if there)

    @property
    def doubt(self) -> float:
        """Probability that the answer is wrong, in [0, 1]; of several labels, that any is."""
        if self.kind == "several":
            right = np.where(self.said, self.p, 1 - self.p)
            return float(1 - np.prod(right))
        return float(1 - self.p[self.said].sum())


class Labeller:
    """A loaded run: every member that the decision asks, and the decision."""

    def __init__(self, run: RunFolder, *, device: str) -> None:
        """Load what answers; members that the decision does not ask stay on disk."""
        recipe = run.recipe()
        self._facts, self._decision = facts_of(run, recipe), decision_of(run)
        alone = {m.name for m in recipe.members} & {self._decision.source}
        self._members = [
            MemberModels(run, recipe, member, self._facts, used_folds(recipe), device)
            for member in members_in_order(recipe)
            if not alone or member.name in alone
        ]
        self._channels = next(iter(self._facts.inputs.values())).channels

    def answers(
        self, new: NewImages, progress: Progress
    ) -> Iterator[tuple[Image, Labels | Problem]]:
        """The labels of every image, in order; a problem in their place if it cannot be read."""
        for start in range(0, len(new.images), _PORTION):
            portion = new.images[start : start + _PORTION]
            made = in_threads(self._read, portion)
            good = [i for i, item in enumerate(made) if not isinstance(item, Problem)]
            p, said = self._answered(
                [item for item in made if not isinstance(item, Problem)], [portion[i] for i in good]
            )
            place = {i: k for k, i in enumerate(good)}
            for i, (image, item) in enumerate(zip(portion, made, strict=True)):
                if isinstance(item, Problem):
                    yield image, item
                    continue
                k = place[i]
                yield image, Labels(self._facts.classes, self._facts.kind, p[k], said[k])

    def _answered(
        self, pixels: list[NDArray[np.generic]], images: list[Image]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Probabilities and labels of decoded images."""
        said = {models.member.name: models.ask(pixels, images) for models in self._members}
        p = self._decision.rule.probabilities(self._decision.raw(said))
        return p, self._decision.rule.answers(p)

    def _read(self, image: Image) -> NDArray[np.generic] | Problem:
        try:
            return decoded(image, self._channels)
        except TransectError as error:
            return Problem(image.name, str(error))
