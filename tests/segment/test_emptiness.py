"""Empty images are told by head, area and certainty together, without their own part."""

import numpy as np
import pytest

from transect.run import RunFolder
from transect.segment.emptiness import Emptiness, evidence_of, fit_emptiness


def test_evidence_is_head_area_and_the_surest_hundredth():
    maps = np.full((1, 10, 10), 0.1, np.float32)
    maps[0, 0, :3] = 0.9
    head, area, surest = evidence_of(0.5, maps)
    assert head == pytest.approx(0, abs=1e-6)
    assert area == pytest.approx(np.log1p(30))  # thousandths
    assert surest == pytest.approx(np.log(9), rel=1e-4)  # one pixel of a hundred
    assert evidence_of(0.9, maps)[0] > head


def survey(rng, count=200):
    """A head that is half noise, maps that find something in most filled images."""
    truth = rng.random(count) < 0.6
    maps = []
    for filled in truth:
        one = rng.uniform(0.0, 0.4, (1, 20, 20)).astype(np.float32)
        if filled and rng.random() < 0.7:
            one[0, :6, :6] = 0.8
        maps.append(one)
    heads = np.clip(0.5 + 0.15 * (2 * truth - 1) + rng.normal(0, 0.2, count), 0.01, 0.99)
    return truth, heads, maps


def fitted(tmp_path, count=200):
    truth, heads, maps = survey(np.random.default_rng(0), count)
    names = [f"{i}.png" for i in range(count)]
    run = RunFolder(tmp_path)
    evidence = {n: evidence_of(h, m) for n, h, m in zip(names, heads, maps, strict=True)}
    part_of = {name: i % 2 for i, name in enumerate(names)}
    fit_emptiness(run, evidence, dict(zip(names, truth.tolist(), strict=True)), part_of)
    return Emptiness.of(run), truth, heads, maps, names


def test_the_weighed_evidence_beats_head_and_area_alone(tmp_path):
    empty, truth, heads, maps, names = fitted(tmp_path)
    triples = zip(heads, maps, names, strict=True)
    said = np.array([empty.filled(h, m, held_out=n) for h, m, n in triples])
    right = np.mean((said > 0.5) == truth)
    alone = np.mean((heads > 0.5) == truth)
    area = np.mean(np.array([(m > 0.5).any() for m in maps]) == truth)
    assert right > max(alone, area) + 0.02


def test_a_held_out_image_is_judged_without_its_part(tmp_path):
    empty, _, heads, maps, names = fitted(tmp_path)
    first, second = (empty.filled(heads[0], maps[0], held_out=n) for n in names[:2])
    assert first != second
    assert empty.filled(heads[0], maps[0]) not in (first, second)


def test_too_few_images_leave_the_head_alone(tmp_path):
    empty, _, _, maps, _ = fitted(tmp_path, count=40)
    assert not empty.fitted
    assert empty.filled(0.3, maps[0]) == 0.3
