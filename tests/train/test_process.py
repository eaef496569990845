import signal

import pytest
import torch

from transect.train.process import interruptible, keep_freed_memory, prepare_process, repeatable


def test_threads_are_set_and_memory_is_kept():
    before = torch.get_num_threads()
    try:
        assert prepare_process(1) == keep_freed_memory()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


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
