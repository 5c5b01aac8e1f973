# Pieces of variances, sums that skip NaN and norms, for plan_map.
import triton
import triton.language as tl

from openxpu.ops.kernels.reduce import power


@triton.jit
def without_nan(x):
    return tl.where(x != x, 0.0, x)


@triton.jit
def where_number(x, d):
    return tl.where(x != x, 0.0, d)


@triton.jit
def spread_grad(x, mean, d, scale):
    """Of the sum of (x - mean)^2 times scale / 2."""
    return (x - mean) * d * scale


@triton.jit
def over_root(out, d):
    """The gradient of a root: half of d over it."""
    return 0.5 * d / out


@triton.jit
def root(x, eps):
    return tl.sqrt(x + eps)


@triton.jit
def sign_times(x, d):
    return tl.where(x > 0, d, tl.where(x < 0, -d, 0.0))


@triton.jit
def twice_times(x, d):
    return 2.0 * x * d


@triton.jit
def unit_grad(x, norm, share):
    """What the norm takes from the gradient of x / norm; `share` is the sum of x d."""
    return x * share / (norm * norm)


@triton.jit
def limited(x, norm, limit):
    """x brought down to the norm `limit` where its norm is above."""
    return tl.where(norm > limit, x * (limit / norm), x)


@triton.jit
def power_slope(x, p):
    """The derivative of |x|^p over p."""
    size = power(tl.abs(x), p - 1.0)
    return tl.where(x > 0, size, tl.where(x < 0, -size, 0.0))


@triton.jit
def limit_share(norm, share, limit, p):
    """What a slice's norm, where it is above the limit, gives to the gradient of each of its elements."""
    return tl.where(norm > limit, -limit * share * power(norm, -1.0 - p), 0.0)
