# paddle.save and paddle.load between the card and the CPU: weights, optimizers, single tensors.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from compared import device, set_weights


@contextmanager
def fresh_process_on(name: str) -> Iterator[None]:
    """A device, and names counted from 0 as in a new process: optimizers save their state under names."""
    with device(name), paddle.utils.unique_name.guard():
        yield


def build() -> tuple[paddle.nn.Layer, Any]:
    model = paddle.nn.Sequential(paddle.nn.Linear(4, 8), paddle.nn.BatchNorm1D(8), paddle.nn.Linear(8, 2))
    set_weights(model[0])
    set_weights(model[2])
    schedule = paddle.optimizer.lr.StepDecay(0.05, 2)
    return model, paddle.optimizer.AdamW(schedule, parameters=model.parameters())


def steps(model: paddle.nn.Layer, optimizer: Any, count: int) -> list[float]:
    losses = []
    x = np.random.default_rng(3).normal(0, 1, (16, 4)).astype(np.float32)
    for _ in range(count):
        loss = (model(paddle.to_tensor(x)) ** 2).mean()
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        optimizer._learning_rate.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("first", "then"), [("xpu", "xpu"), ("xpu", "cpu"), ("cpu", "xpu")])
def test_training_goes_on_where_it_was_saved(first: str, then: str, tmp_path: Path) -> None:
    with fresh_process_on("cpu"):
        expected = steps(*build(), 6)
    with fresh_process_on(first):
        model, optimizer = build()
        losses = steps(model, optimizer, 3)
        paddle.save(model.state_dict(), str(tmp_path / "model.pdparams"))
        paddle.save(optimizer.state_dict(), str(tmp_path / "model.pdopt"))
    with fresh_process_on(then):
        model, optimizer = build()
        model.set_state_dict(paddle.load(str(tmp_path / "model.pdparams")))
        optimizer.set_state_dict(paddle.load(str(tmp_path / "model.pdopt")))
        losses += steps(model, optimizer, 3)
        assert model[0].weight.place.is_custom_place() == (then == "xpu")
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64", "bool", "complex64"])
def test_tensors_of_all_kinds(dtype: str, tmp_path: Path) -> None:
    tensor = paddle.to_tensor(np.arange(6).reshape(2, 3)).astype(dtype)
    paddle.save({"a": tensor, "view": tensor[1], "n": 3}, str(tmp_path / "file"))
    loaded = paddle.load(str(tmp_path / "file"))
    assert loaded["n"] == 3
    assert loaded["a"].dtype == tensor.dtype
    assert loaded["a"].place.is_custom_place()
    np.testing.assert_array_equal(loaded["a"].numpy(), tensor.numpy())
    np.testing.assert_array_equal(loaded["view"].numpy(), tensor.numpy()[1])


def test_numpy_and_pickle() -> None:
    import copy
    import pickle

    tensor = paddle.to_tensor(np.arange(6, dtype=np.float32))
    for other in (pickle.loads(pickle.dumps(tensor)), copy.deepcopy(tensor)):
        np.testing.assert_array_equal(other.numpy(), tensor.numpy())
        other.add_(paddle.ones([6]))
        assert tensor.numpy()[0] == 0.0
