import numpy as np

from transect.identify.duplicate_identities import likely_twins
from transect.openset.fusion import fit_fusion, gather

PEOPLE = np.array(["Ada", "Bob", "Bobby", "Cem"])


def queries(seed=0):
    """Forty photos: those of Bob and Bobby resemble both names."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(4), 10)
    table = rng.normal(0, 0.3, (40, 4))
    table[np.arange(40), truth] += 4
    table[10:20, 2] += 4
    table[20:30, 1] += 4
    return gather({"frozen": table}), truth


def test_two_names_of_one_animal_are_proposed_and_no_others():
    candidates, truth = queries()
    fusion = fit_fusion(candidates, truth, "frozen")
    found = likely_twins(candidates, fusion.score(candidates), fusion, truth, PEOPLE, level=0.3)
    assert [(m.keep, m.other, m.photos) for m in found] == [("Bob", "Bobby", 20)]
    assert "held-out photos" in found[0].why


def test_photos_of_nobody_take_no_part():
    candidates, truth = queries()
    fusion = fit_fusion(candidates, truth, "frozen")
    none = np.full(40, -1)
    assert likely_twins(candidates, fusion.score(candidates), fusion, none, PEOPLE) == []
