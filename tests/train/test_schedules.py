import math

import pytest
import torch

from transect.errors import TransectError
from transect.recipe import Schedule
from transect.train.schedules import SCHEDULES, Plateau, check, cycle_bounds, factor


def course(schedule, steps=100, epochs=10):
    return [
        factor(schedule, step, steps, step * epochs // steps, epochs=epochs)
        for step in range(steps + 1)
    ]


def test_noam_is_the_published_shape_per_epoch():
    """Salt 9th place: 5e-4 at epoch 10 of 250, 1e-4 at epoch 250."""
    schedule = Schedule("noam", warmup_epochs=10)
    rates = [5e-4 * factor(schedule, e, 250, e, epochs=250) for e in range(250)]
    for e, rate in enumerate(rates, 1):
        assert rate == pytest.approx(5e-4 * math.sqrt(10) * min(e**-0.5, e * 10**-1.5))
    assert max(rates) == rates[9] == pytest.approx(5e-4)
    assert rates[-1] == pytest.approx(1e-4)


def test_cosine_restarts_is_that_of_salt_first_place():
    """.012 to .001 in cycles of 50 epochs."""
    schedule = Schedule("cosine_restarts", warmup=0, floor=1 / 12, cycles=6)
    rates = [0.012 * value for value in course(schedule, 300, 300)]
    for start in range(0, 300, 50):
        assert rates[start] == pytest.approx(0.012)
        assert rates[start + 25] == pytest.approx(0.0065)
        assert rates[start + 49] == pytest.approx(0.001, abs=2e-5)
    assert rates[300] == pytest.approx(0.001)


def test_cosine_agrees_with_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], 1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100, eta_min=0.1)
    for value in course(Schedule("cosine", warmup=0, floor=0.1)):
        assert value == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


def test_one_cycle_agrees_with_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], 1.0, momentum=0.9)
    # torch counts 0.3 * 101 - 1 steps up and one step less in all
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, 101, pct_start=31 / 101)
    for value in course(Schedule("one_cycle")):
        assert value == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        if scheduler.last_epoch < 100:
            scheduler.step()


def test_triangles_are_those_of_the_28th_place():
    """Base 1e-4, top 3e-4, the height halved in each cycle."""
    schedule = Schedule("triangular2", floor=1 / 3, cycles=3)
    rates = [3e-4 * value for value in course(schedule, 60, 60)]
    assert [rates[i] for i in (0, 20, 40)] == pytest.approx([1e-4] * 3)
    assert [rates[i] for i in (10, 30, 50)] == pytest.approx([3e-4, 2e-4, 1.5e-4])
    assert rates[5] == pytest.approx(2e-4)
    same = [3e-4 * v for v in course(Schedule("triangular", floor=1 / 3, cycles=3), 60, 60)]
    assert [same[i] for i in (10, 30, 50)] == pytest.approx([3e-4] * 3)


def test_poly_and_step_by_hand():
    poly = course(Schedule("poly", warmup=0, power=0.9))
    assert poly[0] == 1
    assert poly[50] == pytest.approx(0.5**0.9)
    assert poly[100] == 0
    step = course(Schedule("step", warmup=0, factor=0.1, step_epochs=(3, 6)))
    assert [step[i] for i in (0, 29, 30, 60, 99)] == pytest.approx([1, 1, 0.1, 0.01, 0.01])


def test_poly_restarts_with_its_cycles():
    rates = course(Schedule("poly", warmup=0, cycles=2))
    assert rates[50] == 1
    assert rates[25] == pytest.approx(0.5**0.9)


def test_warmup_rises_linearly_and_never_starts_at_zero():
    rates = course(Schedule("constant", warmup=0.1))
    assert rates[:11] == pytest.approx([0.1 * k for k in range(1, 11)] + [1.0])


@pytest.mark.parametrize("name", [*SCHEDULES, "plateau"])
def test_every_schedule_is_finite_and_never_negative(name):
    for epochs in (1, 7):
        for steps in (1, 50):
            values = course(Schedule(name), steps, epochs)
            assert all(math.isfinite(v) and v >= 0 for v in values)


def test_cycles_end_with_whole_epochs():
    assert cycle_bounds(10, 3) == (0, 3, 7, 10)
    rates = course(Schedule("cosine_restarts", warmup=0, floor=0, cycles=3), 100, 10)
    assert [i for i, r in enumerate(rates[:-1]) if r == 1] == [0, 30, 70]
    assert cycle_bounds(2, 5) == (0, 1, 2)


def test_plateau_agrees_with_torch():
    metrics = [0.1, 0.3, 0.2, 0.3, 0.25, 0.4, 0.4, 0.3, 0.2, 0.1, 0.0]
    for patience in (0, 1, 2):
        ours = Plateau(Schedule("plateau", patience=patience, factor=0.25, floor=0.02))
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
        theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, "max", 0.25, patience, threshold=0.0, min_lr=0.02, eps=0
        )
        for metric in metrics:
            theirs.step(metric)
            assert ours.update(metric) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_plateau_goes_on_from_its_state():
    schedule = Schedule("plateau", patience=1)
    whole, first = Plateau(schedule), Plateau(schedule)
    metrics = [1, 0, 0, 0, 0, 0]
    expected = [whole.update(m) for m in metrics]
    values = [first.update(m) for m in metrics[:3]]
    second = Plateau(schedule)
    second.load_state_dict(first.state_dict())
    assert values + [second.update(m) for m in metrics[3:]] == expected


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Schedule("plateau", cycles=3), "cannot have cycles"),
        (Schedule("cosine", cycles=0), "at least 1"),
        (Schedule("noma"), "Did you mean 'noam'"),
        (Schedule("cosine", warmup=1.0), "warmup"),
        (Schedule("noam", warmup_epochs=0), "warmup_epochs"),
    ],
)
def test_contradictions_are_refused(schedule, words):
    with pytest.raises(TransectError, match=words):
        check(schedule)
