# Kernels of operators with a parameter for each channel, and of the largest of a group of channels.
import triton
import triton.language as tl


@triton.jit
def prelu(x, alpha):
    return tl.where(x > 0, x, alpha * x)


@triton.jit
def prelu_grad_x(x, alpha, d):
    return tl.where(x > 0, d, alpha * d)


@triton.jit
def prelu_grad_alpha(x, d):
    return tl.where(x > 0, 0.0, x * d)


@triton.jit
def scale_shift(x, scale, bias):
    return x * scale + bias


@triton.jit
def maxout(
    x, out, cells, inner, groups, GROUPS: tl.constexpr, ACC: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """x [cells, groups, inner], out [cells, inner]: the largest of each group, NaN only where it is the last, as Paddle does.
    GROUPS: a small number of groups, when inner is 1, else 0."""
    cell = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = (cell < cells)[:, None] & (lane < inner)[None, :]
    top = tl.full((ROWS, BLOCK), -3.4028234663852886e38, ACC)
    if GROUPS > 0:
        for group in tl.static_range(GROUPS):
            v = tl.load(
                x + member(cell, group, groups, inner, GROUPS)[:, None] + lane[None, :], mask=mask, other=0
            ).to(ACC)
            top = tl.where(top > v, top, v)
    else:
        for group in range(0, groups):
            v = tl.load(
                x + member(cell, group, groups, inner, GROUPS)[:, None] + lane[None, :], mask=mask, other=0
            ).to(ACC)
            top = tl.where(top > v, top, v)
    to = member(cell, 0, 1, inner, 1 if GROUPS > 0 else 0)[:, None] + lane[None, :]
    tl.store(out + to, top.to(out.dtype.element_ty), mask=mask)


@triton.jit
def member(cell, group, groups, inner, GROUPS: tl.constexpr):
    """Where a group's elements of these cells begin."""
    if GROUPS > 0:
        return cell * GROUPS + group
    else:
        return (cell * groups + group) * inner


@triton.jit
def maxout_grad(
    x, out, dout, dx, cells, inner, groups, GROUPS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """The gradient goes to the first of a group that is the largest."""
    cell = tl.program_id(1).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    lane = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = (cell < cells)[:, None] & (lane < inner)[None, :]
    of = member(cell, 0, 1, inner, 1 if GROUPS > 0 else 0)[:, None] + lane[None, :]
    top = tl.load(out + of, mask=mask, other=0)
    d = tl.load(dout + of, mask=mask, other=0)
    open_ = mask
    for group in range(0, groups):
        at = member(cell, group, groups, inner, GROUPS)[:, None] + lane[None, :]
        here = open_ & (tl.load(x + at, mask=mask, other=0) == top)
        tl.store(dx + at, tl.where(here, d, 0.0).to(dx.dtype.element_ty), mask=mask)
        open_ = open_ & ~here
