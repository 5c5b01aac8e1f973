"""Plans and the planner's door: what each slot becomes, order of steps, lifetime, exceptions."""

from __future__ import annotations

import gc
import struct
import sys

import machine_code
import numpy as np
import pytest

import openxpu
from openxpu import _runtime


@pytest.fixture
def card() -> _runtime.Card:
    return _runtime.card(0)


def resolved(
    card: _runtime.Card, slots: list[tuple], dynamics: tuple = (), **plan_options: int
) -> np.ndarray:
    """The argument block that a kernel really received for these slots."""
    out = openxpu.zeros(len(slots) + 16, "i64")
    plan = _runtime.Plan("probe")
    for name, value in plan_options.items():
        setattr(plan, name, value)
    plan.add_constant(b"constant!" * 3)
    count = len(slots) + 2
    plan.add_launch(machine_code.report(), 0, (1, 2, 3), [("t", 0, 0), ("i", count), *slots], 0, "report")
    plan.replay(card.current_stream, [out.data_ptr(), 1 << 40], dynamics)
    got = out.numpy()
    assert got[count : count + 2].view(np.uint32)[:3].tolist() == [1, 2, 3]
    return got[2:count]


def bits(kind: str, value: float) -> int:
    return int.from_bytes(struct.pack(kind, value), "little")


def test_every_kind_of_slot(card: _runtime.Card) -> None:
    card.set_philox(11, 100)
    got = resolved(
        card,
        [("t", 1, 24), ("i", -3), ("i", 2**64 - 1), ("f32", 0.1), ("f64", 0.1), ("seed",), ("offset",)],
        philox_increment=7,
    )
    assert got.tolist() == [(1 << 40) + 24, -3, -1, bits("<f", 0.1), bits("<d", 0.1), 11, 100]
    assert card.philox() == (11, 107)
    got = resolved(
        card,
        [
            ("d", 0, "i64"),
            ("d", 0, "i32"),
            ("d", 0, "f32"),
            ("d", 1, "f64"),
            ("d", 1, "f32"),
            ("d", 1, "i64"),
        ],
        (-(2**31) - 1, 2.75),
    )
    assert got.tolist() == [
        -(2**31) - 1, 2**31 - 1, bits("<f", -(2.0**31)), bits("<d", 2.75), bits("<f", 2.75), 2,
    ]  # fmt: skip
    first, second = resolved(card, [("w", 0), ("w", 640)], workspace_bytes=1000)
    assert second - first == 640
    assert card.owns(int(first))
    start, middle = resolved(card, [("c", 0, 0), ("c", 0, 9)])
    assert start % 64 == 0
    assert middle - start == 9


def test_steps_run_in_order_and_constants_are_copied(card: _runtime.Card) -> None:
    values = np.arange(500, dtype=np.int64)
    plan = _runtime.Plan("steps")
    plan.workspace_bytes = values.nbytes
    index = plan.add_constant(values.tobytes())
    plan.add_copy(("w", 0), ("c", index, 0), values.nbytes)
    plan.add_launch(machine_code.step(), 0, (500, 1, 1), [("w", 0), ("i", 5)], 0, "step")
    plan.add_copy(("t", 0, 0), ("w", 0), values.nbytes)
    plan.add_fill(("w", 0), values.nbytes, 0xFF)
    assert (plan.step_count, plan.launch_count, plan.tensor_count) == (4, 1, 1)
    outs = [openxpu.empty(500, "i64") for _ in range(20)]
    for out in outs:
        plan.replay(card.current_stream, [out.data_ptr()])
    del plan
    gc.collect()  # the queue keeps what it still needs
    for out in outs:
        np.testing.assert_array_equal(out.numpy(), values * 3 + 5)


def test_a_dropped_plan_lives_until_it_has_run(card: _runtime.Card) -> None:
    out = openxpu.zeros(1000, "i64")
    for i in range(300):
        plan = _runtime.Plan(f"dropped {i}")
        index = plan.add_constant(np.full(1000, i, np.int64).tobytes())
        plan.add_copy(("t", 0, 0), ("c", index, 0), 8000)
        plan.add_launch(
            machine_code.step(), 0, (1000, 1, 1), [("t", 0, 0), ("i", 1)], (0, 10_000)[i % 2], f"name {i}"
        )
        plan.replay(card.current_stream, [out.data_ptr()])
        del plan
    assert set(out.numpy().tolist()) == {299 * 3 + 1}


def test_wrong_calls_are_refused(card: _runtime.Card) -> None:
    plan = _runtime.Plan("two")
    plan.add_copy(("t", 1, 0), ("t", 0, 0), 8)
    with pytest.raises(openxpu.Error, match=r'"two" wants 2 tensors.*1 and 0 were given'):
        plan.replay(card.current_stream, [0])
    with pytest.raises(ValueError, match="known are t w c"):
        plan.add_fill(("x", 1), 8)
    with pytest.raises(openxpu.Error, match="add the constant first"):
        plan.add_fill(("c", 3, 0), 8)
    with pytest.raises(openxpu.Error, match="at most 96 arguments"):
        plan.add_launch(machine_code.step(), 0, (1, 1, 1), [("i", 0)] * 97)
    with pytest.raises(openxpu.Error, match="valid entry"):
        plan.add_launch(0, 0, (1, 1, 1), [])
    with pytest.raises(openxpu.Error, match='"f33" is not a dtype name'):
        plan.set_output(0, "f33")


def test_output_dtypes() -> None:
    plan = _runtime.Plan("outputs")
    plan.set_output(2, "bf16")
    plan.set_output(3, None)
    assert [plan.output(i) for i in (1, 2, 3)] == ["meta", "bf16", None]


class Unsupported(Exception):
    pass


@pytest.fixture
def planner():
    yield _runtime.set_planner
    # Paddle, where an earlier test has imported it, needs its own planner back.
    dispatch = sys.modules.get("openxpu.paddle.dispatch")
    _runtime.set_planner(None if dispatch is None else dispatch.plan)
    _runtime.set_dynamic_lookup(None if dispatch is None else dispatch.dynamic_arguments)


def test_planner_receives_the_call_and_returns_the_plan(planner) -> None:
    calls = []

    def make(kernel: str, arguments: list) -> _runtime.Plan:
        calls.append((kernel, arguments))
        return _runtime.Plan("made for " + kernel)

    planner(make)
    meta = _runtime.TensorMeta(0, [2, 3], "bf16", [3, 1])
    out = _runtime.TensorMeta(1, [2], "f32", [1], True)
    dynamic = _runtime.DynamicScalar(0, "float")
    plan = _runtime.make_plan("softmax", [meta, None, True, -1, 0.5, "mean", [1, 2], dynamic, out])
    assert plan.name == "made for softmax"
    ((kernel, arguments),) = calls
    assert kernel == "softmax"
    assert (arguments[0].slot, arguments[0].shape, arguments[0].dtype, arguments[0].strides) == (
        0,
        (2, 3),
        "bf16",
        (3, 1),
    )
    assert not arguments[0].is_output
    assert arguments[1:7] == [None, True, -1, 0.5, "mean", [1, 2]]
    assert type(arguments[2]) is bool
    assert (arguments[7].index, arguments[7].kind) == (0, "float")
    assert arguments[8].is_output


def test_planner_errors_keep_their_sentence(planner) -> None:
    def refuse(kernel: str, arguments: list) -> _runtime.Plan:
        raise Unsupported("pool3d with dilation 2 cannot be planned; use dilation 1")

    planner(refuse)
    with pytest.raises(openxpu.Error, match=r"^pool3d with dilation 2 cannot be planned; use dilation 1$"):
        _runtime.make_plan("pool3d", [])
    planner(lambda kernel, arguments: 1 // 0)
    with pytest.raises(openxpu.Error, match=r"(?s)^ZeroDivisionError.*Traceback"):
        _runtime.make_plan("pool3d", [])
    planner(lambda kernel, arguments: "no plan")
    with pytest.raises(openxpu.Error, match="did not return a Plan"):
        _runtime.make_plan("pool3d", [])
    planner(None)
    with pytest.raises(openxpu.Error, match=r"import openxpu\.paddle first"):
        _runtime.make_plan("pool3d", [])
