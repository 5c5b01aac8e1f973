"""How much a model computes: the multiplications of its matrix products and convolutions, read from its program.

A multiply-add counts as one (two floating-point operations). What costs little beside them is left out, as is usual:
elementwise work, normalisation, softmax, pooling, lookups, Fourier transforms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from openxpu.models.registry import Model


@dataclass(frozen=True)
class Work:
    """`multiply_adds` of one forward pass, also by operator; `parameters`: numbers that are learned; `inputs`: what was passed."""

    multiply_adds: int
    by_operator: dict[str, int]
    parameters: int
    inputs: tuple[str, ...] = ()


def _extents(value: Any) -> list[int]:
    found = [int(n) for n in value.shape]
    if any(n < 0 for n in found):
        raise ValueError(
            f"The extents {found} are known only when the model runs; its work cannot be counted."
        )
    return found


def _product(x: list[int], across: bool, result: list[int]) -> int:
    """Of a matrix product: each number of the result takes as many as the contracted axis is long."""
    return math.prod(result) * (x[-2] if across and len(x) > 1 else x[-1])


def _convolution(op: Any) -> int:
    return math.prod(_extents(op.results()[0])) * math.prod(_extents(op.operand_source(1))[1:])


def _deformable(op: Any) -> int:
    return math.prod(_extents(op.results()[0])) * math.prod(_extents(op.operand_source(2))[1:])


def _transposed(op: Any) -> int:
    return math.prod(_extents(op.operand_source(0))) * math.prod(_extents(op.operand_source(1))[1:])


def _matmul(op: Any) -> int:
    across = op.attrs().get("transpose_x", op.attrs().get("trans_x", False))
    return _product(_extents(op.operand_source(0)), across, _extents(op.results()[0]))


def _added(op: Any) -> int:
    return _product(_extents(op.operand_source(1)), False, _extents(op.results()[0]))


def _rnn(op: Any) -> int:
    """Every weight matrix once for each step and sample."""
    steps, batch, _ = _extents(op.operand_source(0))
    weights = [
        _extents(w)
        for operand in op.operands_source()
        if (made := operand.get_defining_op()) is not None and made.name() == "builtin.combine"
        for w in made.operands_source()
    ]
    # States have three axes, biases one.
    return steps * batch * sum(math.prod(w) for w in weights if len(w) == 2)


def _einsum(op: Any) -> int:
    left = op.attrs()["equation"].replace(" ", "").partition("->")[0]
    operands = op.operand_source(0).get_defining_op().operands_source()
    if len(operands) < 2:
        return 0
    extents: dict[str, int] = {}
    for labels, operand in zip(left.split(","), operands, strict=True):
        extents |= dict(zip(labels, _extents(operand), strict=True))
    return math.prod(extents.values())


COUNTED: dict[str, Callable[[Any], int]] = {
    **dict.fromkeys(("conv2d", "depthwise_conv2d", "conv3d", "fused_conv2d_add_act"), _convolution),
    **dict.fromkeys(("conv2d_transpose", "depthwise_conv2d_transpose", "conv3d_transpose", "conv2d_transpose_bias"), _transposed),
    **dict.fromkeys(("matmul", "bmm", "mv", "dot"), _matmul),
    **dict.fromkeys(("addmm", "baddbmm"), _added),
    "deformable_conv": _deformable,
    "rnn": _rnn,
    "einsum": _einsum,
}  # fmt: skip
_LOOPS = ("pd_op.while",)


def _blocks(block: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    for op in block.ops:
        if op.name() in _LOOPS:
            raise ValueError(
                "The program has a loop whose length its values decide; its work cannot be counted."
            )
        name = op.name().removeprefix("pd_op.").removesuffix("_")
        if name in COUNTED:
            found[name] += COUNTED[name](op)
        branches = [_blocks(inner) for inner in op.blocks()]
        if branches:  # of a condition: the dearer branch
            dearest = max(range(len(branches)), key=lambda index: sum(branches[index].values()))
            found += branches[dearest]
    return found


def count(layer: Any, arrays: Sequence[np.ndarray]) -> Work:
    """The work of layer(*arrays) in one forward pass. Raises ValueError with a sentence where values decide how much it is."""
    import paddle

    layer.eval()
    specs = [paddle.static.InputSpec(list(a.shape), str(a.dtype)) for a in arrays]
    with paddle.no_grad():
        program = paddle.jit.to_static(
            layer.forward, input_spec=specs, full_graph=True
        ).concrete_program.main_program
    found = _blocks(program.global_block())
    shapes = tuple("x".join(str(n) for n in a.shape) for a in arrays)
    return Work(
        found.total(), dict(found.most_common()), sum(math.prod(p.shape) for p in layer.parameters()), shapes
    )


def of(model: Model) -> Work:
    """The work of a model of the library on one sample of the size that it is certified with."""
    import paddle

    paddle.set_device("cpu")
    batch = model.data.make(1, 1)
    arrays = [batch[name] for name in model.data.asked]
    found = count(model.build(), arrays)
    samples = max(a.shape[0] for a in arrays)  # a maker may give several rows for one
    if samples > 1:
        per = {name: n // samples for name, n in found.by_operator.items()}
        shapes = tuple("x".join(("1", *map(str, a.shape[1:]))) for a in arrays)
        return Work(found.multiply_adds // samples, per, found.parameters, shapes)
    return found
