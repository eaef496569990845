import resource
import signal
import subprocess
import sys

import pytest
import torch

from transect.train.process import interruptible, prepare_process, repeatable


def test_threads_are_set():
    before = torch.get_num_threads()
    try:
        prepare_process(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


FAULTS = """
import resource, torch
from transect.train.process import kept_memory

def faults(size=2**26):
    for _ in range(4):  # until the heap has grown to hold it
        torch.ones(size, dtype=torch.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(size, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
with kept_memory() as kept:
    print(kept, before, faults())
"""
"""Pages that the system hands out when a block is made, freed and made again."""


def test_freed_memory_is_kept_inside_the_block():
    # In a process of its own: what other tests have freed would be found again here.
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    kept, before, inside = done.stdout.split()
    pages = 2**26 // resource.getpagesize()
    assert int(before) > pages / 10
    assert kept == "False" or int(inside) < pages / 10


def test_sigterm_acts_like_ctrl_c():
    def terminated():
        with interruptible():
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        terminated()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_cpu_needs_nothing_to_be_repeatable():
    with repeatable(torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()
