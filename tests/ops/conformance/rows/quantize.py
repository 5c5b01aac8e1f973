# Quantization. Paddle's CPU kernels compute in f32 alone, so the references are the definitions.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import normal, uniform
from conformance.row import Input, row

ops = paddle._C_ops
ROUNDS = [{"round_type": 0}, {"round_type": 1}]
FREE = Input(normal, grad=False)


def off_edges(d):
    """Numbers whose quantization does not hang on the last bit: multiples of a sixteenth, the largest in front."""
    x = d.rng.integers(-15, 16, d.shape) / 16.0
    if x.size:
        x.reshape(-1)[0] = 1.0
        if x.ndim > 1:
            x.reshape(x.shape[0], x.shape[1], -1)[:, :, 0] = 1.0
    return x


def largest(x, axis=None):
    if x.size == 0:
        return np.zeros((1,) if axis is None else (x.shape[axis],))
    return (
        np.array([abs(x).max()])
        if axis is None
        else abs(np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)).max(1)
    )


def steps(x, scale, round_type, axis=None, back=False, bits=8):
    n = (1 << (bits - 1)) - 1
    s = scale if axis is None else scale.reshape([-1 if d == axis else 1 for d in range(x.ndim)])
    v = n * x / s
    v = (
        np.clip(np.rint(v), -n - 1, n)
        if round_type == 0
        else np.sign(v) * np.floor(abs(np.clip(v, -n, n)) + 0.5)
    )
    return v * s / n if back else v


def by_largest(back):
    return lambda x, round_type, axis=None: (
        steps(x, largest(x, axis), round_type, axis, back),
        largest(x, axis),
    )


def weights(d):
    """Multiples of a power of two, with the largest number of steps in every column of a group."""
    k, n = d.shape
    steps = 7 if "4" in d.attrs["algo"] else 127
    x = d.rng.integers(-steps, steps + 1, (k, n)).astype(float)
    x[:: max(d.attrs.get("group_size", -1), 0) or k] = steps
    return x / (steps + 1)


def quantized(x, algo, group_size=-1):
    n = 7 if "4" in algo else 127
    k, m = x.shape
    groups = 1 if group_size < 0 else k // group_size
    scale = abs(x.reshape(groups, k // groups, m)).max(1) / n
    q = np.rint(x / np.repeat(scale, k // groups, 0)).astype(int)
    return q, scale[0] if group_size < 0 else scale


def weight_quantize(x, algo, group_size=-1):
    q, scale = quantized(x, algo, group_size)
    if "4" in algo:
        q = (q[:, 0::2] & 15) | ((q[:, 1::2] & 15) << 4)
        q = np.where(q > 127, q - 256, q)
    return q.T, scale


def bytes_of(d):
    return d.rng.integers(-127, 128, d.shape)


def unpack(q, algo):
    q = q.astype(int).T
    if "4" not in algo:
        return q
    out = np.empty((q.shape[0], 2 * q.shape[1]), int)
    out[:, 0::2], out[:, 1::2] = ((q & 15) ^ 8) - 8, q >> 4
    return out


def dequantize(q, scale, algo, group_size=-1):
    w = unpack(q, algo)
    s = scale[None] if scale.ndim == 1 else scale
    return w * np.repeat(s, w.shape[0] // s.shape[0], 0)


def linear(x, q, bias, scale, weight_dtype="int8", group_size=-1):
    out = x @ dequantize(q, scale, weight_dtype, group_size)
    return out if bias is None else out + bias


def call_linear(x, q, bias, scale, weight_dtype="int8", group_size=-1):
    return paddle.nn.quant.weight_only_linear(x, q, bias, scale, weight_dtype, None, group_size)


def average(x, scale, accum, state, rate=0.9):
    total, count = rate * accum + largest(x), rate * state + 1
    return total / count, count, total


ONE = Input(uniform(1, 2), grad=False)
SCALE = Input(uniform(0.5, 2), grad=False)
ALGOS = [
    {"algo": "weight_only_int8"},
    {"algo": "weight_only_int4"},
    {"algo": "weight_only_int8", "group_size": 64},
    {"algo": "weight_only_int4", "group_size": 64},
]

ROWS = [
    row("fake_quantize_abs_max", lambda x, round_type: ops.fake_quantize_abs_max(x, 8, round_type), off_edges,
        shapes=[(3, 5), (7,), (2, 3, 4, 5), (20011,)], attrs=ROUNDS, reference=by_largest(False), extremes="", grad=False),
    row("fake_quantize_dequantize_abs_max", lambda x, round_type: ops.fake_quantize_dequantize_abs_max(x, 8, round_type), off_edges,
        shapes=[(3, 5), (7,), (2, 3, 4, 5), (20011,)], attrs=ROUNDS, reference=by_largest(True), extremes="", grad=False),
    row("fake_channel_wise_quantize_abs_max", lambda x, round_type, axis: ops.fake_channel_wise_quantize_abs_max(x, 8, round_type, axis, False), off_edges,
        shapes=[(3, 5), (2, 3, 4, 5), (33, 65)], attrs=[{"round_type": 0, "axis": 0}, {"round_type": 1, "axis": 1}], reference=by_largest(False), extremes="", grad=False, inference="a predictor sets is_test, in which the scales are no outputs"),
    row("fake_channel_wise_quantize_dequantize_abs_max", lambda x, round_type, axis: ops.fake_channel_wise_quantize_dequantize_abs_max(x, 8, round_type, axis), off_edges,
        shapes=[(3, 5), (2, 3, 4, 5), (33, 65)], attrs=[{"round_type": 0, "axis": 0}, {"round_type": 1, "axis": 1}], reference=by_largest(True), extremes="", grad=False),
    row("fake_quantize_moving_average_abs_max", lambda x, s, a, t: ops.fake_quantize_moving_average_abs_max(x, s, a, t, 0.9, 8, False, 1)[1:], off_edges, ONE, ONE, ONE,
        shapes=[((3, 5), (1,), (1,), (1,))], reference=average, extremes="", grad=False, layouts=("transposed",), tolerance=2, inference="a predictor sets is_test, in which the scales are no outputs"),
    row("fake_quantize_dequantize_moving_average_abs_max", lambda x, s, a, t: ops.fake_quantize_dequantize_moving_average_abs_max(x, s, a, t, 0.9, 8, False, 1)[1:], off_edges, ONE, ONE, ONE,
        shapes=[((3, 5), (1,), (1,), (1,))], reference=average, extremes="", grad=False, layouts=("transposed",), tolerance=2, inference="a predictor sets is_test, in which the scales are no outputs"),
    row("fake_dequantize_max_abs", lambda x, s: ops.fake_dequantize_max_abs(x, s, 127.0), FREE, ONE, shapes=[((3, 5), (1,)), ((0, 3), (1,)), ((20011,), (1,))],
        reference=lambda x, s: x * s / 127, extremes=""),
    row("fake_channel_wise_dequantize_max_abs", lambda x, s: ops.fake_channel_wise_dequantize_max_abs(x, [s], [8], 1, 1), FREE, FREE, shapes=[((3, 5), (5,)), ((2, 3, 7), (3,))],
        reference=lambda x, s: x * s.reshape([-1 if d == 1 else 1 for d in range(x.ndim)]) / 127, extremes=""),
    row("dequantize_abs_max", lambda x, s: ops.dequantize_abs_max(x, s, 127.0), bytes_of, Input(uniform(1, 2), "f32"), shapes=[((3, 5), (1,)), ((20011,), (1,))],
        reference=lambda x, s: (x.astype("f8") * s / 127).astype("f4"), extremes=""),
    row("weight_quantize", lambda x, algo, group_size=-1: paddle.nn.quant.weight_quantize(x, algo, None, group_size), weights,
        shapes=[(64, 32), (128, 64)], attrs=[*ALGOS, {"algo": "llm.int8"}], reference=weight_quantize, extremes="", layouts=("transposed",)),
    row("weight_dequantize", lambda q, s, algo, group_size=-1: paddle.nn.quant.weight_dequantize(q, s, algo, group_size=group_size), Input(bytes_of, "i8"), SCALE,
        shapes=[((32, 64), (32,))], attrs=[{"algo": "weight_only_int8"}],
        cases=[(((16, 64), (32,)), {"algo": "weight_only_int4"}), (((32, 128), (2, 32)), {"algo": "weight_only_int8", "group_size": 64}), (((16, 128), (2, 32)), {"algo": "weight_only_int4", "group_size": 64})],
        reference=dequantize, extremes="", layouts=()),
    row("weight_only_linear", call_linear, normal, Input(bytes_of, "i8"), FREE, SCALE,
        shapes=[((3, 64), (32, 64), (32,), (32,)), ((2, 5, 64), (32, 64), None, (32,)), ((33, 64), (32, 64), (32,), (32,))],
        cases=[(((1, 64), (16, 64), (32,), (32,)), {"weight_dtype": "int4"}), (((40, 64), (16, 64), (32,), (32,)), {"weight_dtype": "int4"})],
        reference=linear, extremes="", layouts=("transposed",), finite=False, tolerance=4),
    row("weight_only_linear", call_linear, FREE, Input(bytes_of, "i8"), FREE, SCALE, name="weight_only_linear_in_groups",
        shapes=[((3, 128), (32, 128), (32,), (2, 32)), ((40, 128), (32, 128), None, (2, 32))], attrs=[{"group_size": 64}],
        cases=[(((3, 128), (16, 128), (32,), (2, 32)), {"weight_dtype": "int4", "group_size": 64}), (((40, 128), (16, 128), None, (2, 32)), {"weight_dtype": "int4", "group_size": 64})],
        reference=linear, extremes="", layouts=("transposed",), tolerance=4, grad=False),
    row("llm_int8_linear", lambda x, q, b, s: paddle.nn.quant.llm_int8_linear(x, q, b, s, 6.0), FREE, Input(bytes_of, "i8"), FREE, Input(uniform(0.5, 2), "f32", grad=False),
        shapes=[((3, 64), (32, 64), (32,), (32,)), ((33, 64), (32, 64), (32,), (32,))], reference=linear, extremes="", layouts=(), tolerance=4),
]  # fmt: skip
