"""Sums of losses written as text, ``0.1 * bce + 0.9 * lovasz``, and their change over a stage."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from transect.errors import TransectError, unknown_name

__all__ = ["CombinedLoss", "ScheduledLoss", "Term", "parse", "scheduled"]

Loss = Callable[..., Tensor]

_SKIPPING = ("dice_positive", "lovasz_skip_empty")
"""Losses that leave images without truth out; others may with ``skip_empty=true``."""

_EXAMPLE = "Write it like '0.1 * bce + 0.9 * focal(gamma=2)'."


@dataclass(frozen=True)
class Term:
    """One named loss of a sum.

    Attributes:
        weight: Its factor.
        name: Its name in the dict of losses.
        parameters: Its keyword arguments.
        loss: The function.
    """

    weight: float
    name: str
    parameters: Mapping[str, Any]
    loss: Loss = field(repr=False, compare=False)


@dataclass(frozen=True)
class CombinedLoss:
    """A weighted sum of losses; called like any of them.

    Attributes:
        text: As it was written.
        terms: Its parts.
        constant: A number added, so that winners' formulas (``1 + bce + dice``) read as written.
    """

    text: str
    terms: tuple[Term, ...]
    constant: float = 0.0

    @property
    def skips_empty(self) -> bool:
        """Whether every term leaves images without truth out by itself."""
        return all(
            term.name in _SKIPPING or term.parameters.get("skip_empty", False)
            for term in self.terms
        )

    def __call__(self, logits: Tensor, target: Tensor, *, valid: Tensor | None = None) -> Tensor:
        """The sum.

        Args:
            logits: (N, C, H, W) or (N, C).
            target: Same shape.
            valid: (N, 1, H, W), or None.

        Returns:
            A scalar.
        """
        total = logits.new_zeros((), dtype=torch.float32) + self.constant
        for term in self.terms:
            if term.weight != 0:
                value = term.loss(logits, target, valid=valid, **term.parameters)
                total = total + term.weight * value
        return total

    def parts(
        self, logits: Tensor, target: Tensor, *, valid: Tensor | None = None
    ) -> dict[str, float]:
        """The unweighted value of every term, for a log."""
        with torch.no_grad():
            return {
                term.name: float(term.loss(logits, target, valid=valid, **term.parameters))
                for term in self.terms
            }


@dataclass(frozen=True)
class ScheduledLoss:
    """A loss that turns into another while a stage goes on.

    Attributes:
        start: At progress 0.
        end: At progress 1.
        change: ``linear``: weights move evenly; ``switch``: at half of the stage.
    """

    start: CombinedLoss
    end: CombinedLoss
    change: str = "linear"

    def __call__(
        self,
        logits: Tensor,
        target: Tensor,
        *,
        valid: Tensor | None = None,
        progress: float = 0.0,
    ) -> Tensor:
        """The loss at ``progress`` in [0, 1]; other arguments as of any loss."""
        share = min(max(progress, 0.0), 1.0)
        if self.change == "switch":
            share = float(share >= 0.5)
        if share == 0.0:
            return self.start(logits, target, valid=valid)
        if share == 1.0:
            return self.end(logits, target, valid=valid)
        first = self.start(logits, target, valid=valid)
        return (1 - share) * first + share * self.end(logits, target, valid=valid)


def scheduled(
    start: CombinedLoss, end: CombinedLoss | None = None, change: str = "linear"
) -> ScheduledLoss:
    """Hand over from one loss to another over a stage.

    Args:
        start: The loss at the beginning.
        end: The loss at the end; None never changes.
        change: ``linear`` or ``switch`` (at half of the stage).

    Returns:
        A loss that also takes ``progress`` in [0, 1].

    Raises:
        TransectError: If ``change`` is neither.
    """
    if change not in ("linear", "switch"):
        raise unknown_name("loss_change", change, ("linear", "switch"))
    return ScheduledLoss(start, end if end is not None else start, change)


def parse(text: str, losses: Mapping[str, Loss], named: Mapping[str, str]) -> CombinedLoss:
    """Read a sum of losses; nothing in the text is executed.

    Args:
        text: Terms joined by + and -, each a number, a name, or number * name; a name may carry
            parameters in brackets: ``focal(gamma=2)``.
        losses: The known losses.
        named: Names that stand for whole sums.

    Returns:
        The sum.

    Raises:
        TransectError: On anything else, naming the nearest loss or parameter; and on a loss that is
            subtracted, as ``1 + bce - dice`` read as written would.
    """
    written = text.strip()
    expanded = named.get(written, written)
    if not expanded or len(expanded) > 1000:
        raise TransectError(f"a loss must be written in 1 to 1000 characters. {_EXAMPLE}")
    try:
        tree = ast.parse(expanded, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        bare = re.fullmatch(r"[\w-]+", expanded)
        if bare:
            raise unknown_name("a loss", expanded, [*losses, *named]) from error
        raise TransectError(f"the loss '{text}' cannot be read. {_EXAMPLE}") from error
    terms: list[Term] = []
    constant = _collect(tree, 1.0, text, losses, named, terms)
    if not terms:
        raise TransectError(f"the loss '{text}' names no loss. {_EXAMPLE}")
    return CombinedLoss(written, tuple(terms), constant)


def _collect(
    node: ast.expr,
    weight: float,
    text: str,
    losses: Mapping[str, Loss],
    named: Mapping[str, str],
    terms: list[Term],
) -> float:
    """Append the terms below ``node``; return the sum of its bare numbers."""

    def inner(part: ast.expr, factor: float) -> float:
        return _collect(part, factor, text, losses, named, terms)

    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        sign = 1.0 if isinstance(node.op, ast.Add) else -1.0
        return inner(node.left, weight) + inner(node.right, sign * weight)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        for number, other in ((node.left, node.right), (node.right, node.left)):
            factor = _number(number)
            if factor is not None:
                return inner(other, weight * factor)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        return inner(node.operand, -weight if isinstance(node.op, ast.USub) else weight)
    value = _number(node)
    if value is not None:
        return weight * value
    if weight < 0:
        raise TransectError(
            f"the loss '{text}' subtracts {ast.unparse(node)}, which would train it backwards: "
            "every loss here falls as answers improve (dice is one minus the coefficient that "
            f"write-ups call Dice). Write + {ast.unparse(node)}."
        )
    if isinstance(node, ast.Name) and node.id in named and node.id not in losses:
        whole = parse(named[node.id], losses, {})
        terms.extend(Term(weight * t.weight, t.name, t.parameters, t.loss) for t in whole.terms)
        return weight * whole.constant
    name, parameters = _call(node, text)
    if name not in losses:
        raise unknown_name("a loss", name, [*losses, *named])
    _check_parameters(name, parameters, losses[name])
    terms.append(Term(weight, name, parameters, losses[name]))
    return 0.0


def _number(node: ast.expr) -> float | None:
    """The value of a plain number, else None."""
    if (
        isinstance(node, ast.Constant)
        and isinstance(node.value, (int, float))
        and not isinstance(node.value, bool)
    ):
        return float(node.value)
    return None


def _call(node: ast.expr, text: str) -> tuple[str, dict[str, Any]]:
    """A bare name, or a name with keyword parameters that are literals or words."""
    if isinstance(node, ast.Name):
        return node.id, {}
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)) or node.args:
        raise TransectError(f"the loss '{text}' cannot be read. {_EXAMPLE}")
    parameters: dict[str, Any] = {}
    for keyword in node.keywords:
        value: Any
        if isinstance(keyword.value, ast.Name):
            words = {"true": True, "false": False, "none": None}
            value = words.get(keyword.value.id, keyword.value.id)
        else:
            try:
                value = ast.literal_eval(keyword.value)
            except (ValueError, TypeError, RecursionError) as error:
                raise TransectError(f"the loss '{text}' cannot be read. {_EXAMPLE}") from error
        if keyword.arg is None or not isinstance(value, (int, float, str, bool, type(None))):
            raise TransectError(
                f"parameters of a loss are numbers, words, true or false; '{text}' has others."
            )
        parameters[keyword.arg] = value
    return node.func.id, parameters


def _check_parameters(name: str, parameters: Mapping[str, Any], loss: Loss) -> None:
    """Refuse parameters that the loss does not have, and words where a number belongs."""
    known = {
        key: value.default
        for key, value in inspect.signature(loss).parameters.items()
        if value.kind is inspect.Parameter.KEYWORD_ONLY and key != "valid"
    }
    for key, value in parameters.items():
        if key not in known:
            if not known:
                raise TransectError(f"{name} has no parameters; got '{key}'. Write just '{name}'.")
            raise unknown_name(f"a parameter of {name}", key, known)
        default = known[key]
        wanted: tuple[type, ...] = (type(default),)
        if default is None or type(default) is float:
            wanted = (int, float)
        if isinstance(value, bool) != (type(default) is bool) or not isinstance(value, wanted):
            raise TransectError(f"{name}({key}=...) takes a value like {default!r}; got {value!r}.")
