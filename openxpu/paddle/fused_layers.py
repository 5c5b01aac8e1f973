# The fused transformer layers of paddle.incubate.nn as rows of ordinary operators.
"""FusedFeedForward, FusedMultiHeadAttention, FusedTransformerEncoderLayer and fused_linear_activation call operators of names that
only a CUDA build of Paddle has. The functions below take their places where they are missing; every operator that they
call runs on the card, and has a gradient."""

from __future__ import annotations

from typing import Any

from openxpu.paddle import after_import


def _attributes(pairs: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def _one_card(attributes: dict[str, Any], name: str) -> None:
    if attributes.get("ring_id", -1) >= 0:
        raise NotImplementedError(
            f"{name} across cards (ring_id {attributes['ring_id']}) is not there; use the layers of "
            "paddle.distributed.fleet for tensor parallelism."
        )


def _dropout(x: Any, p: float, a: dict[str, Any], implementation: str) -> Any:
    from paddle.nn.functional import dropout

    if p == 0:
        return x
    mode = "upscale_in_train" if implementation == "upscale_in_train" else "downscale_in_infer"
    return dropout(x, p, training=not a["is_test"], mode=mode)


def _feedforward(
    x: Any, seed1: Any, seed2: Any, weight1: Any, bias1: Any, weight2: Any, bias2: Any,
    scale1: Any, shift1: Any, scale2: Any, shift2: Any, *pairs: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """layer norm, product, activation, dropout, product, dropout, sum; the norm first or last. The result is the first of 11."""
    import paddle.nn.functional as F

    a = _attributes(pairs)
    _one_card(a, "fused_feedforward")
    width = [x.shape[-1]]
    inside = F.layer_norm(x, width, scale1, shift1, a["ln1_epsilon"]) if a["pre_layer_norm"] else x
    hidden = getattr(F, a["act_method"])(F.linear(inside, weight1, bias1))
    hidden = _dropout(hidden, a["dropout1_rate"], a, a["dropout1_implementation"])
    out = _dropout(F.linear(hidden, weight2, bias2), a["dropout2_rate"], a, a["dropout2_implementation"])
    if a["add_residual"]:
        out = x + out
    if not a["pre_layer_norm"]:
        out = F.layer_norm(out, width, scale2, shift2, a["ln2_epsilon"])
    return (out, *(None,) * 10)


def _attend(q: Any, k: Any, v: Any, mask: Any, a: dict[str, Any]) -> Any:
    """Attention of [batch, rows, heads, depth]."""
    import paddle
    import paddle.nn.functional as F

    p = a["attn_dropout_rate"]
    if p == 0 or a["attn_dropout_implementation"] == "upscale_in_train":
        return F.scaled_dot_product_attention(q, k, v, mask, p, training=not a["is_test"])
    q, k, v = (t.transpose([0, 2, 1, 3]) for t in (q, k, v))
    scores = paddle.matmul(q * q.shape[-1] ** -0.5, k, transpose_y=True)
    weights = F.softmax(scores if mask is None else scores + mask)
    weights = _dropout(weights, p, a, a["attn_dropout_implementation"])
    return paddle.matmul(weights, v).transpose([0, 2, 1, 3])


def _attention(
    x: Any, pre_scale: Any, pre_shift: Any, qkv_weight: Any, qkv_bias: Any, cache: Any, mask: Any,
    weight: Any, bias: Any, scale: Any, shift: Any, *pairs: Any,
) -> tuple[Any, ...]:  # fmt: skip
    """layer norm, product, attention, product, dropout, sum; the norm first or last. The new cache and the result are the
    last of 20."""
    import paddle
    import paddle.nn.functional as F

    a = _attributes(pairs)
    _one_card(a, "fused_attention")
    batch, rows, width = x.shape
    inside = F.layer_norm(x, [width], pre_scale, pre_shift, a["epsilon"]) if a["pre_layer_norm"] else x
    if a["transpose_qkv_wb"]:
        heads = a["num_heads"]
        qkv = paddle.matmul(inside, qkv_weight)
    else:
        heads = qkv_weight.shape[1]
        qkv = paddle.matmul(inside, qkv_weight.reshape([-1, width]), transpose_y=True)
    if qkv_bias is not None:
        qkv = qkv + qkv_bias.reshape([-1])
    q, k, v = qkv.reshape([batch, rows, 3, heads, -1]).unbind(2)
    cache_out = None
    if cache is not None:
        old_k, old_v = (cache[i].transpose([0, 2, 1, 3]) for i in range(2))
        k, v = paddle.concat([old_k, k], 1), paddle.concat([old_v, v], 1)
        cache_out = paddle.stack([t.transpose([0, 2, 1, 3]) for t in (k, v)])
    out = F.linear(_attend(q, k, v, mask, a).reshape([batch, rows, -1]), weight, bias)
    out = _dropout(out, a["dropout_rate"], a, a["dropout_implementation"])
    if a["add_residual"]:
        out = x + out
    if not a["pre_layer_norm"]:
        out = F.layer_norm(out, [width], scale, shift, a["ln_epsilon"])
    return (*(None,) * 18, cache_out, out)


def _gemm_epilogue(x: Any, y: Any, bias: Any, *pairs: Any) -> Any:
    """activation(x @ y + bias)."""
    import paddle
    import paddle.nn.functional as F

    a = _attributes(pairs)
    out = paddle.matmul(x, y, a["trans_x"], a["trans_y"]) + bias
    if a["activation"] == "relu":
        return F.relu(out)
    return F.gelu(out, approximate=True) if a["activation"] == "gelu" else out


_FUNCTIONS = {
    "fused_feedforward": _feedforward,
    "fused_attention": _attention,
    "fused_gemm_epilogue": _gemm_epilogue,
}


# The attributes of the operators in programs, which come without their names.
_FEEDFORWARD_ATTRIBUTES = (
    "pre_layer_norm", "ln1_epsilon", "ln2_epsilon", "act_method", "dropout1_rate", "dropout2_rate",
    "dropout1_implementation", "dropout2_implementation", "is_test", "dropout1_fix_seed", "dropout2_fix_seed",
    "dropout1_seed", "dropout2_seed", "add_residual", "ring_id",
)  # fmt: skip
_ATTENTION_ATTRIBUTES = (
    "num_heads", "transpose_qkv_wb", "pre_layer_norm", "epsilon", "attn_dropout_rate", "is_test",
    "attn_dropout_fix_seed", "attn_dropout_seed", "attn_dropout_implementation", "dropout_rate", "dropout_fix_seed",
    "dropout_seed", "dropout_implementation", "ln_epsilon", "add_residual", "ring_id",
)  # fmt: skip


def _named(values: tuple[Any, ...], names: tuple[str, ...]) -> list[Any]:
    """names and values in turn."""
    return [item for pair in zip(names, values, strict=True) for item in pair]


class _Operators:
    """Paddle's operators, with these two as rows of others: in programs they are there, but have no kernel."""

    def __init__(self, operators: Any) -> None:
        self._operators = operators

    def __getattr__(self, name: str) -> Any:
        return getattr(self._operators, name)

    def fused_feedforward(self, *arguments: Any) -> tuple[Any, ...]:
        return _feedforward(*arguments[:11], *_named(arguments[11:], _FEEDFORWARD_ATTRIBUTES))

    def fused_attention(self, *arguments: Any) -> tuple[Any, ...]:
        return _attention(*arguments[:11], *_named(arguments[11:], _ATTENTION_ATTRIBUTES))


def _supply_layers(module: Any) -> None:
    _supply(module)
    if module._legacy_C_ops.fused_feedforward is _feedforward:
        module._C_ops = _Operators(module._C_ops)


def _supply(module: Any) -> None:
    for name, function in _FUNCTIONS.items():
        if not hasattr(module._legacy_C_ops, name):
            setattr(module._legacy_C_ops, name, function)


def install() -> None:
    """Supplies what is missing when the modules that call it are there."""
    after_import.install(
        {
            "paddle.incubate.nn.functional.fused_transformer": _supply_layers,
            "paddle.incubate.nn.functional.fused_matmul_bias": _supply,
        }
    )
