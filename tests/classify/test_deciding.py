"""Which source answers: the best on rows it has not seen, the simplest of equals."""

import numpy as np

from transect.classify.deciding import (
    TRIVIAL,
    Decision,
    Evidence,
    fit_decision,
    nested_answers,
    parts_of,
    sources_of,
)
from transect.recipe import ClassifyDecide

DECIDE = ClassifyDecide(sources=("members", "mean", "logistic"), calibrate="temperature")


def said(label, right, rng, classes=4):
    """Probabilities of a member that is right so often."""
    shown = np.where(rng.random(len(label)) < right, label, rng.integers(classes, size=len(label)))
    p = rng.dirichlet(np.full(classes, 2.0), len(label)) + 1.2 * np.eye(classes)[shown]
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def evidence(*rights, n=240, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(classes, size=n)
    members = {f"m{i}": said(label, right, rng, classes) for i, right in enumerate(rights)}
    return Evidence(
        members, np.eye(classes, dtype=bool)[label], np.arange(n) % 4, "single", np.arange(n)
    )


def test_the_better_member_answers_and_of_equal_ones_the_first():
    assert fit_decision(evidence(0.5, 0.9), ClassifyDecide(sources=("members",))).source == "m1"
    both = evidence(0.8, n=120)
    twins = Evidence(
        {"frozen": both.members["m0"], "trained": both.members["m0"]},
        both.truth,
        both.parts,
        "single",
        both.groups,
    )
    assert fit_decision(twins, DECIDE).source == "frozen"  # nor a mean or stack that is no better


def test_members_that_err_apart_answer_together():
    found = fit_decision(evidence(0.7, 0.7, 0.7, n=600), DECIDE)
    assert found.source in ("mean", "logistic", "lightgbm")
    assert found.scores[found.source] > max(found.scores[m] for m in ("m0", "m1", "m2")) + 0.03


def test_where_nothing_is_learned_the_trivial_answer_is_shipped_and_scored():
    rng = np.random.default_rng(3)
    label = (rng.random(400) < 0.3).astype(int)
    noise = {f"m{i}": rng.dirichlet(np.ones(2), 400).astype(np.float32) for i in range(6)}
    given = Evidence(
        noise, np.eye(2, dtype=bool)[label], np.arange(400) % 5, "single", np.arange(400)
    )
    decision = fit_decision(given, DECIDE)
    assert decision.source == TRIVIAL
    _, answers, _ = nested_answers(given, DECIDE)
    assert answers[:, 0].mean() > 0.95


def test_nested_scores_do_not_rise_with_the_number_of_tries():
    """Of many members of noise one looks good by chance; the nested score must not believe it."""
    rng = np.random.default_rng(1)
    label = rng.integers(2, size=60)
    noise = {f"m{i}": rng.dirichlet(np.ones(2), 60).astype(np.float32) for i in range(30)}
    given = Evidence(
        noise, np.eye(2, dtype=bool)[label], np.arange(60) % 4, "single", np.arange(60)
    )
    alone = ClassifyDecide(sources=("members",), calibrate="none")
    best = max(fit_decision(given, alone).scores.values())
    _, answers, _ = nested_answers(given, alone)
    assert best > 0.62  # chosen on what it is scored on
    assert (answers.argmax(axis=1) == label).mean() < best - 0.05


def test_every_row_is_answered_by_a_decision_that_has_not_seen_it(monkeypatch):
    from transect.classify import deciding

    given, seen = evidence(0.8, 0.7, n=80), []
    honest = deciding.fit_decision
    monkeypatch.setattr(
        deciding, "fit_decision", lambda e, d: seen.append(set(e.parts.tolist())) or honest(e, d)
    )
    nested_answers(given, DECIDE)
    assert seen == [{1, 2, 3}, {0, 2, 3}, {0, 1, 3}, {0, 1, 2}]


def test_a_decision_comes_back_from_its_files(tmp_path):
    given = evidence(0.7, 0.7, n=320)
    for source in ("mean", "logistic", "lightgbm"):
        decision = fit_decision(given, ClassifyDecide(sources=(source,)))
        again = Decision.load(decision.save(tmp_path), tmp_path)
        np.testing.assert_allclose(again.raw(given.members), decision.raw(given.members), atol=1e-9)
        assert again.rule == decision.rule


def test_one_fold_is_halved_at_random_and_no_group_parted():
    groups = np.arange(40) // 2
    parts = parts_of(np.zeros(40, np.int64), groups)
    assert (parts[::2] == parts[1::2]).all()
    assert parts.mean() == 0.5
    assert len(set(parts[::4].tolist())) == 2  # not every other one: labels may alternate
    assert parts_of(np.array([0, 1]), np.array([0, 0])).tolist() == [0, 1]
    given = evidence(0.9)
    left = given.take(given.parts == 2)
    assert len(np.unique(left.parts)) == 2


def test_many_labels_and_images_are_stacked_on_some_of_the_pairs():
    given = evidence(0.7, 0.7, n=700, classes=60)
    found = fit_decision(given, ClassifyDecide(sources=("logistic",), calibrate="none"))
    p = found.raw(given.members)
    assert (p.argmax(1) == given.truth.argmax(1)).mean() > 0.65


def test_one_member_has_nothing_to_be_stacked_with_and_few_images_teach_no_stack():
    assert sources_of(ClassifyDecide(), {"a": 0}, 900) == ("a",)
    assert sources_of(ClassifyDecide(sources=("mean",)), {"a": 0}, 900) == ("a",)
    both = {"a": 0, "b": 0}
    assert sources_of(ClassifyDecide(), both, 900) == ("a", "b", "mean", "logistic", "lightgbm")
    assert sources_of(ClassifyDecide(), both, 200) == ("a", "b", "mean", "logistic")
    assert sources_of(ClassifyDecide(), both, 40) == ("a", "b", "mean")


def test_a_lead_that_chance_would_give_is_no_reason_to_leave_the_simpler_source():
    from transect.classify.deciding import _chosen

    simple = np.zeros(100)
    simple[:80] = 1
    luck, better = simple.copy(), simple.copy()
    luck[:5], luck[80:86] = 0, 1  # five lost, six won
    better[80:90] = 1
    for other, wanted in ((luck, "frozen"), (better, "trained")):
        each = {"frozen": simple, "trained": other}
        assert _chosen({name: v.mean() for name, v in each.items()}, each) == wanted


def test_a_stack_answers_rows_that_it_was_not_fitted_on(monkeypatch):
    from transect.classify import deciding

    given, seen = evidence(0.7, 0.7, n=120), []
    fitted = deciding._fitted
    monkeypatch.setattr(deciding, "_fitted", lambda n, m, t: seen.append(len(t)) or fitted(n, m, t))
    deciding._held_out("logistic", given, [0.25] * 4)
    assert seen == [90] * 4
