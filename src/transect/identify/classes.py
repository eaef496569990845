"""Scores of individuals by a member's own classes, instead of by photos of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from transect.errors import TransectError
from transect.identify.recogniser import Recogniser
from transect.recipe import Embedding, IdentifyDecide, Member

__all__ = ["asked_one_by_one", "check_classes", "class_scores"]

_BINARY = ("bce_hard",)  # heads whose classes are asked one by one
_NONE = ("none", "softmax", "siamese")  # heads without classes on vectors of length 1


def check_classes(member: Member, decide: IdentifyDecide) -> None:
    """Refuse scores by classes where a member has none that can be asked.

    Raises:
        TransectError: If its head has no classes on vectors of length 1, its vectors are
            projected, or flanks are classes of their own.
    """
    network = member.network
    assert isinstance(network, Embedding)
    if decide.to_identity != "classes":
        return
    if network.head in _NONE or network.project != "none" or not member.stages:
        raise TransectError(
            f"member {member.name} cannot score by classes: it needs stages, a head of classes on "
            f"vectors of length 1 (arcface, cosface, sphereface, bce_hard ...; got {network.head}) "
            "and project none. Set decide.to_identity to max, or give it such a head."
        )
    if decide.sides == "separate":
        raise TransectError(
            "decide.to_identity classes needs decide.sides together: flanks are compared with the "
            "same flank, and classes do not tell them. Set one of the two."
        )


def class_scores(
    models: Sequence[tuple[torch.nn.Module, float]],
    vectors: NDArray[np.float32],
    classes: Sequence[str],
    people: Sequence[str],
    *,
    binary: bool,
    mirrored: bool,
) -> NDArray[np.float64]:
    """The probability of each individual's class.

    Args:
        models: The snapshots of one fold, with their weights.
        vectors: (Q, K * V * D) as ``scorers.joined_vectors`` makes them of K snapshots and V
            views, the mirrored views last.
        classes: Names of the individuals that the fold was trained on, in the order of its classes.
        people: Names of all individuals.
        binary: Whether classes are asked one by one (sigmoid) or against each other (softmax).
        mirrored: Whether class k + N is the mirrored k, and mirrored views are asked for it.

    Returns:
        (Q, P) means over views and snapshots; -inf for individuals without a class.

    References:
        Whale 1st place: the probabilities of a photo are averaged with those of the mirrored
        photo's mirrored classes.
    """
    known, total = len(classes), sum(weight for _, weight in models)
    mean = np.zeros((len(vectors), known))
    for (model, weight), part in zip(models, np.split(vectors, len(models), axis=1), strict=True):
        assert isinstance(model, Recogniser)
        assert model.head is not None
        place = next(model.parameters()).device
        views = part.reshape(len(part), -1, model.dim)
        for view in range(views.shape[1]):
            # The views are shortened by the root of their number: the head brings them to 1 again.
            asked = torch.from_numpy(np.ascontiguousarray(views[:, view])).to(place)
            with torch.inference_mode():
                logits = model.head(torch.nn.functional.normalize(asked), None).float()
                own = torch.sigmoid(logits) if binary else torch.softmax(logits, dim=1)
            turned = mirrored and view >= views.shape[1] // 2
            half = own[:, known:] if turned else own[:, :known]
            mean += half.cpu().numpy().astype(np.float64) * weight / (total * views.shape[1])
    table = np.full((len(vectors), len(people)), -np.inf)
    number = {name: k for k, name in enumerate(classes)}
    columns = [(p, number[name]) for p, name in enumerate(people) if name in number]
    if columns:
        at, of = zip(*columns, strict=True)
        table[:, at] = mean[:, of]
    return table


def asked_one_by_one(network: Embedding) -> bool:
    """Whether the classes of a head are asked one by one."""
    return network.head in _BINARY
