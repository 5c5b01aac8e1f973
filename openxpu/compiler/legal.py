"""Rewrites to what the back end has: dots of 8-bit floats and into f16, scaled dots, atomic loads and stores."""

from __future__ import annotations

import math
from typing import Any

from openxpu.compiler.tile_ir import Block, Function, Op, Region, Type, Value, make_op, replace_uses

_FLOAT8 = ("f8e4m3", "f8e5m2")


class Builder:
    """Appends operations to a list."""

    def __init__(self) -> None:
        self.ops: list[Op] = []

    def op(self, name: str, operands: list[Value], type: Type, **attrs: Any) -> Value:
        made = make_op(name, operands, [type], **attrs)
        self.ops.append(made)
        return made.result

    def constant(self, type: Type, value: Any) -> Value:
        return self.op("arith.constant", [], type, value=value)

    def binary(self, name: str, value: Value, number: Any) -> Value:
        return self.op(name, [value, self.constant(value.type, number)], value.type)

    def convert(self, value: Value, dtype: str) -> Value:
        if value.type.dtype == dtype:
            return value
        return self.op("tt.fp_to_fp", [value], value.type.with_dtype(dtype))

    def transpose(self, value: Value) -> Value:
        """The last two dimensions exchanged."""
        shape = value.type.shape or ()
        order = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
        return self.op(
            "tt.trans", [value], value.type.with_shape(tuple(shape[d] for d in order)), order=order
        )

    def fp4(self, packed: Value) -> Value:
        """Bytes that hold two e2m1 numbers each, the first one low -> f32, twice as long along the last dimension."""
        shape = packed.type.shape or ()
        wide = self.op("arith.extui", [packed], packed.type.with_dtype("i32"))
        halves = [wide, self.binary("arith.shrui", wide, 4)]
        numbers = []
        for half in halves:
            # As in float8.py: the code in the place of an f32's exponent and fraction is 2^126 too small.
            code = self.binary("arith.shli", self.binary("arith.andi", half, 7), 22)
            sign = self.binary("arith.shli", self.binary("arith.andi", half, 8), 28)
            size = self.op("tt.bitcast", [code], code.type.with_dtype("f32"))
            size = self.binary("arith.mulf", size, math.ldexp(1.0, 126))
            bits = self.op("tt.bitcast", [size], code.type)
            bits = self.op("arith.ori", [bits, sign], bits.type)
            numbers.append(self.op("tt.bitcast", [bits], bits.type.with_dtype("f32")))
        joined = self.op("tt.join", numbers, numbers[0].type.with_shape((*shape, 2)))
        return self.op("tt.reshape", [joined], joined.type.with_shape((*shape[:-1], shape[-1] * 2)))

    def scale(self, scale: Value, columns: int) -> Value:
        """Scales of groups along the last dimension -> one f32 per element. Bytes are exponents (e8m0, 255 is NaN)."""
        shape = scale.type.shape or ()
        if scale.type.is_float:
            factor = self.convert(scale, "f32")
        else:
            wide = self.op("arith.extui", [scale], scale.type.with_dtype("i32"))
            bits = self.binary("arith.shli", wide, 23)
            for code, pattern in ((0, 0x00400000), (255, 0x7FC00000)):
                is_code = self.op(
                    "arith.cmpi",
                    [wide, self.constant(wide.type, code)],
                    wide.type.with_dtype("i1"),
                    predicate="eq",
                )
                bits = self.op("arith.select", [is_code, self.constant(bits.type, pattern), bits], bits.type)
            factor = self.op("tt.bitcast", [bits], bits.type.with_dtype("f32"))
        group = columns // shape[-1]
        factor = self.op("tt.expand_dims", [factor], factor.type.with_shape((*shape, 1)), axis=len(shape))
        factor = self.op("tt.broadcast", [factor], factor.type.with_shape((*shape, group)))
        return self.op("tt.reshape", [factor], factor.type.with_shape((*shape[:-1], columns)))

    def factor(self, value: Value, form: str, scale: Value | None, k_pack: bool) -> Value:
        """A factor [..., rows, k] of a scaled dot as f32."""
        if form == "e2m1":
            number = self.fp4(value) if k_pack else self.transpose(self.fp4(self.transpose(value)))
        else:
            number = self.convert(value, "f32")
        if scale is None:
            return number
        factor = self.scale(scale, (number.type.shape or ())[-1])
        return self.op("arith.mulf", [number, factor], number.type)


def dot_scaled(b: Builder, op: Op) -> Value:
    operands = list(op.operands)
    lhs = operands.pop(0)
    lhs_scale = operands.pop(0) if op.attrs["scaled"][0] else None
    rhs = operands.pop(0)
    rhs_scale = operands.pop(0) if op.attrs["scaled"][1] else None
    left = b.factor(lhs, op.attrs["formats"][0], lhs_scale, op.attrs["k_pack"][0])
    right = b.factor(b.transpose(rhs), op.attrs["formats"][1], rhs_scale, op.attrs["k_pack"][1])
    return dot(b, left, b.transpose(right), operands[0])


def dot(b: Builder, left: Value, right: Value, start: Value, precision: str = "ieee") -> Value:
    """A dot in types that the micro-kernels have: 8-bit floats are exact in f16, and f16 accumulates in f32."""
    if left.type.dtype in _FLOAT8 or right.type.dtype in _FLOAT8:
        left, right = b.convert(left, "f16"), b.convert(right, "f16")
    if start.type.dtype not in ("f16", "bf16"):
        return b.op("tt.dot", [left, right, start], start.type, precision=precision)
    wide = b.convert(start, "f32")
    product = b.op("tt.dot", [left, right, wide], wide.type, precision=precision)
    return b.convert(product, start.type.dtype)


def atomic_load(b: Builder, op: Op) -> Value:
    """An atomic that writes nothing."""
    type = op.result.type
    return b.op("tt.atomic_rmw", [op.operands[0], b.constant(type, 0), *op.operands[1:]], type, kind="load")


def atomic_store(b: Builder, op: Op) -> None:
    b.op("tt.atomic_rmw", op.operands, op.operands[1].type, kind="exch")


def _needs(op: Op) -> bool:
    if op.name == "tt.dot":
        return op.operands[0].type.dtype in _FLOAT8 or op.operands[2].type.dtype in ("f16", "bf16")
    return op.name in _REWRITES


_REWRITES: dict[str, Any] = {
    "tt.dot": lambda b, op: dot(
        b, op.operands[0], op.operands[1], op.operands[2], op.attrs.get("precision", "ieee")
    ),
    "tt.dot_scaled": dot_scaled,
    "tt.atomic_load": atomic_load,
    "tt.atomic_store": atomic_store,
}


def legalise(function: Function) -> None:
    def visit(region: Region) -> None:
        for block in region.blocks:
            rewrite(block)

    def rewrite(block: Block) -> None:
        out: list[Op] = []
        for op in block.ops:
            for inner in op.regions:
                visit(inner)
            if not _needs(op):
                out.append(op)
                continue
            builder = Builder()
            result = _REWRITES[op.name](builder, op)
            out.extend(builder.ops)
            if result is not None:
                replace_uses(function.body, op.result, result)
        block.ops = out

    visit(function.body)
