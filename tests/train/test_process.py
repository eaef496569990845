import resource
import signal

import pytest
import torch

from transect.train.process import interruptible, kept_memory, prepare_process, repeatable


def test_threads_are_set():
    before = torch.get_num_threads()
    try:
        prepare_process(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def faults_of_allocating(size=2**26):
    """Pages that the system hands out when a block is made, freed and made again."""
    torch.ones(size, dtype=torch.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(size, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_freed_memory_is_kept_inside_the_block_only():
    pages = 2**26 // resource.getpagesize()
    with kept_memory() as kept:
        if not kept:
            pytest.skip("this C library has no such setting")
        assert faults_of_allocating() < pages / 10
    assert faults_of_allocating() > pages / 10


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
