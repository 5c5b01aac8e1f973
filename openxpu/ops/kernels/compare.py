# Comparisons, logic, bits and selection, for plan_map.
import triton
import triton.language as tl


@triton.jit
def equal(x, y):
    return x == y


@triton.jit
def not_equal(x, y):
    return x != y


@triton.jit
def less_than(x, y):
    return x < y


@triton.jit
def less_equal(x, y):
    return x <= y


@triton.jit
def greater_than(x, y):
    return x > y


@triton.jit
def greater_equal(x, y):
    return x >= y


@triton.jit
def logical_and(x, y):
    return (x != 0) & (y != 0)


@triton.jit
def logical_or(x, y):
    return (x != 0) | (y != 0)


@triton.jit
def logical_xor(x, y):
    return (x != 0) != (y != 0)


@triton.jit
def logical_not(x):
    return x == 0


@triton.jit
def bitwise_and(x, y):
    return x & y


@triton.jit
def bitwise_or(x, y):
    return x | y


@triton.jit
def bitwise_xor(x, y):
    return x ^ y


@triton.jit
def bitwise_not(x):
    return ~x


@triton.jit
def where(condition, x, y):
    return tl.where(condition != 0, x, y)


@triton.jit
def where_grad_x(condition, d):
    return tl.where(condition != 0, d, 0)


@triton.jit
def where_grad_y(condition, d):
    return tl.where(condition != 0, 0, d)


@triton.jit
def isclose(x, y, rtol, atol, equal_nan):
    """|x - y| <= atol + rtol * |y|; an infinite y is close to itself alone, although inf <= inf."""
    near = (tl.abs(x - y) <= atol + rtol * tl.abs(y)) & (tl.abs(y) < float("inf"))
    missing = tl.where((x != x) & (y != y), equal_nan, 0.0)
    return near | (x == y) | (missing != 0)
