"""The trained members of a run: what each says of images, held out or new, by the same call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from transect.classify.dataset import LabelledImages
from transect.classify.forward import asked, ready
from transect.classify.network import Classifier, probabilities
from transect.classify.training import build_classifier, outputs_of, vectors_of
from transect.data.inputs import Inputs
from transect.errors import TransectError
from transect.files import atomic_path, read_json
from transect.predict.dense import load_weights
from transect.predict.views import view, view_mean
from transect.recipe import Member, Recipe
from transect.run import RunFolder
from transect.tabular.linear import LinearClassifier
from transect.train.checkpoint import save_tensors
from transect.types import Image, LabelKind

__all__ = ["Facts", "MemberModels", "facts_of", "keep_vectors", "stored_vectors"]


@dataclass(frozen=True)
class Facts:
    """What prediction must know of the survey, as ``inputs.json`` holds it.

    Attributes:
        classes: Labels.
        kind: single, several or grades.
        inputs: Of each member, by name.
    """

    classes: tuple[str, ...]
    kind: LabelKind
    inputs: dict[str, Inputs]


def facts_of(run: RunFolder, recipe: Recipe) -> Facts:
    """Read them."""
    stored = run.read_json("inputs.json")
    inputs = {
        m.name: Inputs.from_json(stored["inputs"][m.name], m.geometry) for m in recipe.members
    }
    return Facts(tuple(stored["classes"]), stored["label_kind"], inputs)


def keep_vectors(
    run: RunFolder,
    recipe: Recipe,
    member: Member,
    dataset: LabelledImages,
    *,
    device: str,
    progress: Callable[[int, int], None],
) -> None:
    """Write the vectors of all images by a network that is not trained, and the network itself.

    Only for members without stages, or whose last layer begins as a logistic regression.
    """
    path = _vectors(run, member)
    starts = getattr(member.network, "head_start", "") == "logistic"
    if path.is_file() or (member.stages and not starts):
        return
    views = ("identity",) if member.stages else recipe.views
    found = vectors_of(dataset, member, device=device, views=views, progress=progress)
    if not member.stages:
        torch.manual_seed(0)
        channels = dataset.inputs(member.geometry).network_channels
        model = build_classifier(member, channels, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(_trunk(run, member), dict(model.trunk.state_dict()))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, found)


def stored_vectors(run: RunFolder, member: Member) -> NDArray[np.float32]:
    """(N, V, D) as ``keep_vectors`` wrote them.

    Raises:
        TransectError: If the file is damaged.
    """
    path = _vectors(run, member)
    try:
        found: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TransectError(f"{path} cannot be read ({error}). Remove it, and resume.") from error
    return found


class MemberModels:
    """A member as some folds have trained it, loaded once."""

    def __init__(
        self,
        run: RunFolder,
        recipe: Recipe,
        member: Member,
        facts: Facts,
        folds: Sequence[int],
        device: str,
    ) -> None:
        """Load.

        Args:
            run: The run.
            recipe: Of the run.
            member: One of its members.
            facts: Of the survey.
            folds: Whose networks answer, their mean.
            device: Where.
        """
        self.run, self.recipe, self.member, self.facts = run, recipe, member, facts
        self.folds, self.device = tuple(folds), device
        self._models = list(self._loaded())

    def ask(
        self,
        pixels: Sequence[NDArray[Any]],
        images: Sequence[Image],
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float32]:
        """(N, C) probabilities of images, over views, snapshots and folds."""
        calls = [self._call(model) for model, _ in self._models]
        found = asked(
            calls,
            pixels,
            images,
            self.facts.inputs[self.member.name],
            device=self.device,
            views=[view(name).apply for name in self.recipe.views],
            progress=progress,
        )
        if not self.member.stages:
            return self.from_vectors(found[0])
        shares = np.array([weight for _, weight in self._models])
        mean = sum(
            self._over_views(p) * np.float32(w)
            for p, w in zip(found, shares / shares.sum(), strict=True)
        )
        return np.asarray(mean, np.float32)

    def from_vectors(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C) of (N, V, D) vectors, by the regressions of the folds; without stages only."""
        flat = vectors.reshape(-1, vectors.shape[-1])
        shape = (*vectors.shape[:2], len(self.facts.classes))
        each = [
            self._over_views(self.linear(fold).probabilities(flat).reshape(shape))
            for fold in self.folds
        ]
        return np.asarray(np.mean(each, axis=0), np.float32)

    def linear(self, fold: int) -> LinearClassifier:
        """The regression of a fold."""
        return LinearClassifier.load(logistic_path(self.run, self.member, fold))

    def classifier(self, fold: int) -> Classifier:
        """One network of a fold, with its last layer, to look inside."""
        inputs, classes = self.facts.inputs[self.member.name], len(self.facts.classes)
        if self.member.stages:
            (model, _) = next(iter(self._trained(fold)))
            return model
        model = build_classifier(
            self.member, inputs.network_channels, classes, pretrained=False,
            start=self.linear(fold),
        )  # fmt: skip
        load_weights(model.trunk, _trunk(self.run, self.member))
        return model.eval()

    def _loaded(self) -> Iterable[tuple[nn.Module, float]]:
        """Networks and their shares; of a member without stages its one trunk."""
        if self.member.stages:
            for fold in self.folds:
                for model, weight in self._trained(fold):
                    yield ready(model, self.device), weight
            return
        channels = self.facts.inputs[self.member.name].network_channels
        model = build_classifier(self.member, channels, 1, pretrained=False)
        load_weights(model.trunk, _trunk(self.run, self.member))
        yield ready(model.trunk, self.device), 1.0

    def _trained(self, fold: int) -> Iterable[tuple[Classifier, float]]:
        """The snapshots of a fold."""
        folder = self.run.fold(self.member.name, fold)
        channels = self.facts.inputs[self.member.name].network_channels
        outputs = outputs_of(self.member, len(self.facts.classes))
        for entry in read_json(folder / "done.json")["snapshots"]:
            model = build_classifier(self.member, channels, outputs, pretrained=False)
            load_weights(model, folder / Path(str(entry["file"])).name)
            yield model.eval(), float(entry["weight"])

    def _call(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """A network as a function to probabilities; a trunk that is not trained, to vectors."""
        if not self.member.stages:
            return lambda x: model(x)["features"]
        classes, several = len(self.facts.classes), self.facts.kind == "several"
        return lambda x: probabilities(model(x)["logits"].float(), classes, several=several)

    def _over_views(self, p: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, V, C) to the mean (N, C) that the recipe names."""
        into, out_of = view_mean(self.recipe.view_mean)
        mean = out_of(into(torch.from_numpy(p)).mean(dim=1)).numpy()
        if self.facts.kind != "several":
            mean = mean / mean.sum(axis=1, keepdims=True)
        return np.asarray(mean, np.float32)


def logistic_path(run: RunFolder, member: Member, fold: int) -> Path:
    """Where the regression of a member on one fold lies."""
    return run.fold(member.name, fold) / "logistic.safetensors"


def _vectors(run: RunFolder, member: Member) -> Path:
    return run.oof(member.name) / "vectors.npy"


def _trunk(run: RunFolder, member: Member) -> Path:
    return run.path / "members" / member.name / "trunk.safetensors"
