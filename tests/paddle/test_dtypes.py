# Every dtype of Paddle through common operators: native, fallen back or refused, but never a wrong number.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import pytest
from compared import device

DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
    "complex64", "complex128", "float8_e4m3fn", "float8_e5m2",
]  # fmt: skip


def _set(x: Any, y: Any) -> Any:
    changed = x.clone()
    changed[1:3] = y[0]
    return changed


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "add scalar": lambda x, y: x + 1,
    "scale": lambda x, y: paddle.scale(x, 2.0, 1.0),
    "negative": lambda x, y: -x,
    "floor_divide": lambda x, y: x // y,
    "remainder": lambda x, y: x % y,
    "power": lambda x, y: x**2,
    "equal": lambda x, y: x == y,
    "less": lambda x, y: x < y,
    "maximum": paddle.maximum,
    "sum": lambda x, y: x.sum(),
    "sum of rows": lambda x, y: x.sum(0),
    "mean": lambda x, y: x.mean(),
    "max": lambda x, y: x.max(1),
    "product": lambda x, y: x.prod(),
    "any": lambda x, y: x.any(),
    "argmax": lambda x, y: x.argmax(1),
    "cumsum": lambda x, y: x.cumsum(1),
    "matmul": lambda x, y: paddle.matmul(x, y.T),
    "transpose": lambda x, y: x.T.contiguous(),
    "concat": lambda x, y: paddle.concat([x, y]),
    "stack": lambda x, y: paddle.stack([x, y]),
    "slice": lambda x, y: x[:, ::2].clone(),
    "gather": lambda x, y: paddle.gather(x, paddle.to_tensor([2, 0])),
    "where": lambda x, y: paddle.where(paddle.to_tensor([[True, False] * 3] * 4), x, y),
    "zero": lambda x, y: x.clone().zero_(),
    "ones_like": lambda x, y: paddle.ones_like(x),
    "set item": _set,
    "exp": lambda x, y: paddle.exp(x),
    "sqrt": lambda x, y: paddle.sqrt(x),
    "abs": lambda x, y: paddle.abs(x),
    "bitwise_and": lambda x, y: x & y,
    "softmax": lambda x, y: paddle.nn.functional.softmax(x),
    "relu": lambda x, y: paddle.nn.functional.relu(x),
    "to f32": lambda x, y: x.astype("float32"),
    "to i64": lambda x, y: x.astype("int64"),
    "to complex": lambda x, y: x.astype("complex64"),
    "isfinite": lambda x, y: paddle.isfinite(x),
    "tile": lambda x, y: paddle.tile(x, [2, 1]),
    "sort": lambda x, y: paddle.sort(x, 1),
    "unique": lambda x, y: paddle.unique(x),
}  # fmt: skip


def inputs(dtype: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(2):
        values = rng.integers(1, 5, (4, 6)).astype(np.float32)
        if dtype.startswith("complex"):
            made.append(paddle.to_tensor((values + 1j * values[::-1]).astype(dtype)))
        else:
            made.append(paddle.to_tensor(values).astype(dtype))
    return made[0], made[1]


def run(where: str, operator: Callable[[Any, Any], Any], dtype: str) -> Any:
    """The result as a NumPy array wide enough to compare, or the error's first line."""
    with device(where):
        try:
            x, y = inputs(dtype)
            out = operator(x, y)
        except (RuntimeError, ValueError, TypeError, NotImplementedError, OSError, AssertionError) as error:
            return str(error).strip().splitlines()
        kind = str(out.dtype).removeprefix("paddle.")
        values = out.to("cpu")
        return kind, values.numpy() if kind[:4] in ("bool", "comp", "int6") else values.astype(
            "float64"
        ).numpy()


@pytest.mark.parametrize("dtype", DTYPES)
def test_never_a_wrong_number(dtype: str) -> None:
    wrong = []
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2}.get(dtype, 1e-5)
    for name, operator in OPERATORS.items():
        card, cpu = run("xpu", operator, dtype), run("cpu", operator, dtype)
        if isinstance(cpu, list):  # Paddle's CPU cannot either; the card may
            if isinstance(card, list) and not any(len(line) > 20 for line in card):
                wrong.append(f"{name}: an error that says nothing: {card}")
            continue
        if isinstance(card, list):
            wrong.append(f"{name}: refused, the CPU can: {' '.join(card)[:200]}")
        elif card[0] != cpu[0]:
            wrong.append(f"{name}: gives {card[0]}, the CPU {cpu[0]}")
        elif not np.allclose(card[1], cpu[1], rtol=tolerance, atol=tolerance, equal_nan=True):
            wrong.append(f"{name}: {card[1].ravel()[:4]}, the CPU {cpu[1].ravel()[:4]}")
    assert not wrong, "\n".join([f"{dtype}:", *wrong])
