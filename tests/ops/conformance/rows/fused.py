# Operators that stand for a row of others. Where Paddle's CPU device has none, the reference is the row of others in NumPy.
from __future__ import annotations

import numpy as np
import paddle
from conformance.draw import normal
from conformance.row import Input, row
from scipy import special

ops = paddle._C_ops
fused = paddle.incubate.nn.functional
EPSILON = float(np.float32(1e-5))


def axes(x, begin):
    return tuple(range(begin, x.ndim))


def rms(x, weight=None, epsilon=EPSILON, begin=-1, bias=None):
    begin %= x.ndim
    y = x / np.sqrt((x * x).mean(axes(x, begin), keepdims=True) + epsilon)
    if weight is not None:
        y = y * weight.reshape(x.shape[begin:])
    return y if bias is None else y + bias.reshape(x.shape[begin:])


def layer_norm(x, weight=None, bias=None, epsilon=EPSILON, begin=-1):
    begin %= x.ndim
    y = (x - x.mean(axes(x, begin), keepdims=True)) / np.sqrt(x.var(axes(x, begin), keepdims=True) + epsilon)
    y = y if weight is None else y * weight.reshape(x.shape[begin:])
    return y if bias is None else y + bias.reshape(x.shape[begin:])


def residual(x, bias, other, alpha=1.0):
    return x + (0 if bias is None else bias) + (0 if other is None else alpha * other)


def rms_quant(x, bias, other, weight, norm_bias, begin_norm_axis):
    out = ops.fused_rms_norm_quant(
        x, bias, other, weight, norm_bias, 1e-5, begin_norm_axis, -1.0, 0, 0.0, 0.0
    )
    return out[0] if other is None else out[:2]


def rms_quant_definition(x, bias, other, weight, norm_bias, begin_norm_axis):
    flat = None if bias is None else bias.reshape(x.shape[begin_norm_axis:])
    total = residual(x, flat, other)
    y = rms(total, weight, EPSILON, begin_norm_axis, norm_bias)
    return y if other is None else (y, total)


def sum_norm(x, bias, other, weight, norm_bias, alpha=1.0):
    out = ops.fused_bias_residual_layernorm(
        x, bias, other, weight, norm_bias, 1e-5, alpha, x.ndim - 1, -1.0, 0, 0.0, 0.0
    )
    return out[0] if other is None or weight is None else out[:2]


def sum_norm_definition(x, bias, other, weight, norm_bias, alpha=1.0):
    total = residual(x, bias, other, alpha)
    if weight is None:
        return total
    y = layer_norm(total, weight, norm_bias)
    return y if other is None else (y, total)


def activated(x, bias, act_method="gelu"):
    x = x if bias is None else x + bias
    gelu = lambda v: 0.5 * v * (1 + special.erf(v / np.sqrt(2)))  # noqa: E731
    silu = lambda v: v * special.expit(v)  # noqa: E731
    if act_method in ("geglu", "swiglu"):
        left, right = np.split(x, 2, -1)
        return (gelu if act_method == "geglu" else silu)(left) * right
    return {"gelu": gelu, "relu": lambda v: np.maximum(v, 0), "silu": silu}[act_method](x)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def triangle(x):
    return softmax(np.where(np.tril(np.ones(x.shape[-2:])), x, -np.inf))


def product(x, y, bias, trans_x=False, trans_y=False, activation="none"):
    out = (x.T if trans_x else x) @ (y.T if trans_y else y) + bias
    return np.maximum(out, 0) if activation == "relu" else out


def grads(x, dout, dweight, dbias):
    x, dout = x.reshape(-1, x.shape[-1]), dout.reshape(-1, dout.shape[-1])
    weight = x.T @ dout + (0 if dweight is None else dweight)
    return weight, dout.sum(0) + (0 if dbias is None else dbias)


def bias_dropout_norm(x, other, bias, scale, shift, **attrs):
    return fused.fused_bias_dropout_residual_layer_norm(
        x, other, bias, scale, shift, dropout_rate=0.0, **attrs
    )


ROWS = [
    row("rms_norm", lambda x, w, **a: ops.rms_norm(x, w, [x.shape[-1]], 1e-5)[0], normal, normal,
        shapes=[((3, 5), (5,)), ((4, 1, 33), (33,)), ((2, 3, 1025), (1025,)), ((7, 20011), (20011,)), ((0, 8), (8,)), ((3, 5), None)],
        reference=lambda x, w: rms(x, w, 1e-5), extremes=""),
    row("fused_rms_norm_ext", lambda x, w: ops.fused_rms_norm_ext(x, w, 1e-5)[0], normal, normal,
        shapes=[((3, 5), (5,)), ((2, 3, 1025), (1025,)), ((0, 8), (8,))], reference=rms, extremes="", grad=False),
    row("fused_rms_norm_quant", rms_quant, normal, normal, normal, normal, normal,
        shapes=[((2, 3, 64), (64,), (2, 3, 64), (64,), (64,)), ((2, 3, 64), None, (2, 3, 64), (64,), None)],
        attrs=[{"begin_norm_axis": 2}], cases=[(((4, 33), None, (4, 33), (33,), None), {"begin_norm_axis": 1})],
        reference=rms_quant_definition, extremes="", grad=False),
    row("fused_rms_norm_quant", rms_quant, normal, normal, normal, normal, normal, name="fused_rms_norm_quant_alone",
        shapes=[((2, 3, 64), None, None, (64,), (64,))], attrs=[{"begin_norm_axis": 2}],
        cases=[(((4, 33), None, None, (33,), (33,)), {"begin_norm_axis": 1}), (((2, 3, 8), None, None, (24,), (24,)), {"begin_norm_axis": 1})],
        reference=rms_quant_definition, extremes="", grad=["fused_rms_norm_quant_grad"]),
    row("fused_bias_residual_layernorm", sum_norm, normal, normal, normal, normal, normal,
        shapes=[((4, 33), (33,), (4, 33), (33,), (33,)), ((2, 3, 64), None, (2, 3, 64), (64,), (64,)), ((4, 33), (33,), None, (33,), (33,)), ((4, 33), (33,), (4, 33), None, None)],
        attrs=[{}, {"alpha": 0.5}], reference=sum_norm_definition, extremes=""),
    row("fused_bias_dropout_residual_layer_norm", bias_dropout_norm, normal, normal, normal, normal, normal,
        shapes=[((4, 33), (4, 33), (33,), (33,), (33,)), ((2, 3, 64), (2, 3, 64), None, (64,), (64,)), ((2, 3, 64), (2, 3, 64), (64,), None, None)],
        reference=lambda x, r, b, w, s: layer_norm(residual(x, b, r), w, s), extremes="", tolerance=2),
    row("fused_bias_act", fused.fused_bias_act, normal, normal,
        shapes=[((3, 8), (8,)), ((2, 3, 66), (66,)), ((4, 1026), None), ((0, 8), (8,))],
        attrs=[{"act_method": name} for name in ("gelu", "relu", "swiglu", "geglu")], without={"i32": "needs factors; a row of its own"},
        reference=activated, extremes="", grad=False),
    row("fused_softmax_mask", ops.fused_softmax_mask, normal, Input(normal, grad=False),
        shapes=[((2, 3, 8, 33), (2, 1, 8, 33)), ((1, 2, 4, 1025), (1, 1, 4, 1025)), ((2, 3, 4, 5), (2, 1, 4, 5)), ((1, 1, 2, 20011), (1, 1, 2, 20011))],
        reference=lambda x, m: softmax(x + m), extremes="", scale=1e-12, grad=["fused_softmax_mask_grad"]),
    row("fused_softmax_mask_upper_triangle", ops.fused_softmax_mask_upper_triangle, normal,
        shapes=[(2, 3, 33, 33), (1, 2, 128, 128), (1, 1, 1, 1)], reference=triangle, extremes="", scale=1e-12,
        grad=["fused_softmax_mask_upper_triangle_grad"], grad_tolerance={"f16": 24.0, "bf16": 24.0, "f32": 48.0, "f64": 128.0}),
    row("fused_gemm_epilogue", lambda x, y, b, **a: ops.fused_gemm_epilogue(x, y, b, a.get("trans_x", False), a.get("trans_y", False), a.get("activation", "none"))[0], normal, normal, normal,
        shapes=[((3, 5), (5, 7), (7,)), ((33, 65), (65, 40), (40,)), ((2, 3, 5), (5, 7), (7,))],
        cases=[(((5, 3), (5, 7), (7,)), {"trans_x": True}), (((3, 5), (7, 5), (7,)), {"trans_y": True}), (((3, 5), (5, 128), (128,)), {"activation": "relu"})],
        reference=product, extremes="", tolerance=2),
    row("fused_linear_param_grad_add", lambda x, d, w, b: ops.fused_linear_param_grad_add(x, d, w, b, False, True), normal, normal, normal, normal,
        shapes=[((6, 5), (6, 7), (5, 7), (7,)), ((2, 3, 5), (2, 3, 7), (5, 7), None), ((6, 5), (6, 7), None, None)],
        reference=grads, extremes="", tolerance=4, layouts=(), static="its result goes into an input too", inference="the same"),
]  # fmt: skip
