import pytest
import torch
from torch import nn

from transect.errors import TransectError
from transect.train.checkpoint import (
    State,
    Writer,
    load_weights,
    optimizer_tensors,
    read_state,
    restore_optimizer,
    save_tensors,
    tensors_of,
    write_state,
)


def test_state_comes_back_as_it_was(tmp_path):
    state = State({"model/w": torch.arange(6.0).reshape(2, 3)}, {"epoch": 3, "x": [0.1, None]})
    write_state(tmp_path / "s.safetensors", state)
    back = read_state(tmp_path / "s.safetensors")
    assert back.scalars == state.scalars
    assert torch.equal(back.tensors["model/w"], state.tensors["model/w"])


def test_truncated_state_is_refused(tmp_path):
    path = tmp_path / "s.safetensors"
    write_state(path, State({"w": torch.zeros(1000)}, {}))
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(TransectError, match="not a state"):
        read_state(path)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_optimiser_comes_back_in_the_layout_of_its_parameters(layout):
    def steps(model, optimizer, count):
        for k in range(count):
            optimizer.zero_grad()
            model(torch.full((1, 2, 4, 4), 1.0 + k)).sum().backward()
            optimizer.step()

    model = nn.Conv2d(2, 3, 3).to(memory_format=layout)
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    steps(model, optimizer, 2)
    saved, weights = tensors_of(optimizer_tensors(optimizer)), tensors_of(model.state_dict())
    steps(model, optimizer, 2)
    other = nn.Conv2d(2, 3, 3).to(memory_format=layout)
    other.load_state_dict(weights)
    resumed = torch.optim.AdamW(other.parameters(), 0.1)
    restore_optimizer(resumed, saved)
    moment = resumed.state[other.weight]["exp_avg"]
    assert moment.stride() == other.weight.stride()
    steps(other, resumed, 2)
    assert torch.equal(model.weight, other.weight)


def test_weights_of_another_model_are_refused(tmp_path):
    save_tensors(tmp_path / "w.safetensors", nn.Linear(2, 2).state_dict())
    with pytest.raises(TransectError, match="weights of this model"):
        load_weights(nn.Linear(3, 3), tmp_path / "w.safetensors")
    with pytest.raises(TransectError, match="weights of this model"):
        load_weights(nn.Linear(3, 3), tmp_path / "missing.safetensors")


def test_writer_writes_in_order_and_only_the_latest_state():
    done = []
    writer = Writer(every=1000)
    writer.submit_state(lambda: done.append("old state"))
    writer.submit(lambda: done.append("snapshot"))
    writer.submit_state(lambda: done.append("new state"))
    writer.close()
    assert done == ["snapshot", "new state"]


def test_error_of_the_writer_is_raised_in_training():
    def broken():
        raise TransectError("the disk is full")

    writer = Writer(every=0)
    writer.submit(broken)
    with pytest.raises(TransectError, match="full"):
        writer.drain()
    writer.close()
