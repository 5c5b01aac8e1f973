# Outputs whose size depends on values: one plan for every count, programs that run again, many threads, a trace.
from __future__ import annotations

import threading
from typing import Any

import numpy as np
import paddle
import pytest

import openxpu.paddle
from openxpu import _runtime
from openxpu.paddle import counters

pytestmark = pytest.mark.usefixtures("paddle_xpu")
KERNELS = ("nonzero", "masked_select", "unique", "repeat_interleave_with_tensor_index")


def operators(x: Any, mask: Any, repeats: Any) -> list[Any]:
    return [
        paddle.nonzero(mask),
        paddle.masked_select(x, mask),
        *paddle.unique(paddle.round(x), return_index=True, return_inverse=True, return_counts=True),
        paddle.repeat_interleave(x, repeats, 0),
    ]


def draw(share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((64, 33)) * 9 * share).astype(np.float32)
    return x, rng.random((64, 33)) < share, rng.integers(0, 1 + int(4 * share), 64).astype(np.int32)


def expected(x: np.ndarray, mask: np.ndarray, repeats: np.ndarray) -> list[np.ndarray]:
    unique = np.unique(np.round(x), return_index=True, return_inverse=True, return_counts=True)
    return [np.argwhere(mask), x[mask], *(u.reshape(-1) for u in unique), np.repeat(x, repeats, 0)]


def equal(got: list[Any], wanted: list[np.ndarray]) -> None:
    for g, w in zip(got, wanted, strict=True):
        value = np.asarray(g)
        assert value.shape == w.shape
        np.testing.assert_array_equal(value, w)


def made() -> dict[str, int]:
    return {name: counters.plans().get(name, (0, 0))[0] for name in KERNELS}


def test_one_plan_for_all_counts() -> None:
    before: dict[str, int] = {}
    for seed, share in enumerate((0.5, 0.0, 0.1, 1.0, 0.9)):
        arrays = draw(share, seed)
        equal([t.numpy() for t in operators(*map(paddle.to_tensor, arrays))], expected(*arrays))
        if seed == 0:
            before = made()
    assert made() == before


def test_a_program_runs_again_with_other_counts() -> None:
    paddle.enable_static()
    try:
        program = paddle.static.Program()
        with paddle.static.program_guard(program):
            x = paddle.static.data("x", [64, 33], "float32")
            mask = paddle.static.data("mask", [64, 33], "bool")
            repeats = paddle.static.data("repeats", [64], "int32")
            outputs = operators(x, mask, repeats)
            # What follows gets the size of this run.
            outputs.append(paddle.nn.functional.relu(outputs[1]) + 1)
        executor = paddle.static.Executor(paddle.CustomPlace("xpu", 0))
        before: dict[str, int] = {}
        for seed, share in enumerate((0.5, 0.0, 0.1, 1.0)):
            arrays = draw(share, seed)
            feed = dict(zip(("x", "mask", "repeats"), arrays, strict=True))
            *got, relu = executor.run(program, feed=feed, fetch_list=outputs)
            equal(got, expected(*arrays))
            np.testing.assert_array_equal(relu, np.maximum(arrays[0][arrays[1]], 0) + 1)
            if seed == 1:  # in the second run outputs still have the dtypes of the first
                before = made()
        assert made() == before
    finally:
        paddle.disable_static()


def test_many_threads() -> None:
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            for turn in range(15):
                arrays = draw((seed + turn) % 7 / 7, seed)
                equal([t.numpy() for t in operators(*map(paddle.to_tensor, arrays))], expected(*arrays))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_stages_are_traced_and_counted() -> None:
    x, mask, _ = draw(0.5)
    tensors = paddle.to_tensor(x), paddle.to_tensor(mask)
    paddle.masked_select(*tensors)
    openxpu.paddle.reset_counters()
    paddle.device.synchronize()
    _runtime.trace_start()
    paddle.masked_select(*tensors)
    paddle.device.synchronize()
    names = [record[0] for record in _runtime.trace_stop()]
    assert names == ["select.count_kept", "select.running_counts", "copy", "select.keep"]
    assert openxpu.paddle.native_calls()["masked_select"] == 1
    assert openxpu.paddle.fallbacks() == {}


def test_a_negative_number_gives_no_size() -> None:
    with pytest.raises(Exception, match="no size follows"):
        paddle.bincount(paddle.to_tensor([3, -1, 2]))
    assert paddle.bincount(paddle.to_tensor([3, 1])).shape == [4]


def test_public_functions() -> None:
    from openxpu.ops import select
    from openxpu.runtime import from_numpy, to_numpy

    x, mask, _ = draw(0.5)
    for share in (0.5, 0.0, 1.0):
        _, mask, _ = draw(share)
        np.testing.assert_array_equal(to_numpy(select.nonzero(from_numpy(mask))), np.argwhere(mask))
        got = to_numpy(select.masked_select(from_numpy(x), from_numpy(mask)))
        np.testing.assert_array_equal(got, x[mask])
    whole = np.round(x)
    wanted = np.unique(whole, return_index=True, return_inverse=True, return_counts=True)
    for got, want in zip(select.unique(from_numpy(whole)), wanted, strict=True):
        np.testing.assert_array_equal(to_numpy(got), want.reshape(-1))


def test_indices_of_a_slice_share_a_plan() -> None:
    """Where the slice begins is a dynamic scalar."""
    x = np.arange(9 * 4 * 5, dtype=np.float32).reshape(9, 4, 5)
    tensor, index = paddle.to_tensor(x), paddle.to_tensor([2, 0, -1])
    before = None
    for start in range(4):
        np.testing.assert_array_equal(
            tensor[start : start + 4][:, index].numpy(), x[start : start + 4][:, [2, 0, -1]]
        )
        plans = counters.plans().get("index_elementwise_get", (0, 0))[0]
        before = plans if before is None else before
        assert plans == before
