# Derivatives of first to third order of functions of one tensor, in terms of what their gradients keep: x, or out (o_...).
import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import power, sigmoid


@triton.jit
def product_and(x, factor, total):
    return x * factor + total


@triton.jit
def sine(x):
    return tl.sin(x)


@triton.jit
def cosine(x):
    return tl.cos(x)


@triton.jit
def minus_sine(x):
    return -tl.sin(x)


@triton.jit
def minus_cosine(x):
    return -tl.cos(x)


@triton.jit
def constant(x, value):
    return tl.where(x == x, value, value)


@triton.jit
def times(x, value):
    return x * value


@triton.jit
def o_tanh(o):
    return 1.0 - o * o


@triton.jit
def o_sigmoid(o):
    return (1.0 - o) * o


@triton.jit
def o_sigmoid2(o):
    return 1.0 - 2.0 * o


@triton.jit
def over(o, value):
    return value / o


@triton.jit
def o_rsqrt(o):
    return -0.5 * o * o * o


@triton.jit
def positive(x):
    return tl.where(x > 0, 1.0, 0.0)


@triton.jit
def minus_inverse_square(x):
    return -1.0 / (x * x)


@triton.jit
def sign(x):
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, 0.0))


@triton.jit
def leaky_relu(x, alpha):
    return tl.where(x > 0, 1.0, alpha)


@triton.jit
def elu(x, alpha):
    return tl.where(x > 0, 1.0, alpha * tl.exp(x))


@triton.jit
def elu2(x, alpha):
    return tl.where(x > 0, 0.0, alpha * tl.exp(x))


@triton.jit
def celu(x, alpha):
    return tl.where(x > 0, 1.0, tl.exp(x / alpha))


@triton.jit
def celu2(x, alpha):
    return tl.where(x > 0, 0.0, tl.exp(x / alpha) / alpha)


@triton.jit
def softplus(x, beta, threshold):
    return tl.where(x * beta > threshold, 1.0, sigmoid(x * beta))


@triton.jit
def softplus2(x, beta, threshold):
    s = sigmoid(x * beta)
    return tl.where(x * beta > threshold, 0.0, beta * s * (1.0 - s))


@triton.jit
def scaled_power(x, factor, exponent):
    """factor x ^ exponent; nothing where the factor is zero."""
    return tl.where(factor == 0, 0.0, factor * power(x, exponent + x * 0.0))


@triton.jit
def norm_double_grad(
    x, dy, ddx, scale, dds, ddb, mean, factor, dx, dscale, ddy, outer, groups, channels, inner, epsilon,
    FIXED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One group of x [outer, groups, inner], which is normalized by its own mean and factor 1 / deviation, or, FIXED, by a
    mean and a variance that do not depend on it. What does is projected: P(v) = v - mean(v) - n mean(v n), n being x
    normalized."""
    group = tl.program_id(0).to(tl.int64)
    channel = group % channels
    lane = tl.arange(0, BLOCK)
    s = tl.load(scale + channel).to(ACC)
    a = tl.load(dds + channel).to(ACC)
    b = tl.load(ddb + channel).to(ACC)
    m = tl.load(mean + group).to(ACC)
    r = tl.load(factor + group).to(ACC)
    if FIXED:
        r = 1.0 / tl.sqrt(r + tl.cast(epsilon, ACC))
    sum_y = tl.zeros([BLOCK], ACC)
    sum_x = tl.zeros([BLOCK], ACC)
    sum_xy = tl.zeros([BLOCK], ACC)
    sum_yn = tl.zeros([BLOCK], ACC)
    sum_xn = tl.zeros([BLOCK], ACC)
    for o in range(0, outer):
        begin = (o.to(tl.int64) * groups + group) * inner
        for start in range(0, inner, BLOCK):
            mask = lane < inner - start
            at = begin + start + lane
            n = tl.where(mask, (tl.load(x + at, mask=mask, other=0).to(ACC) - m) * r, 0.0)
            y = tl.load(dy + at, mask=mask, other=0).to(ACC)
            v = tl.load(ddx + at, mask=mask, other=0).to(ACC)
            sum_y += y
            sum_x += v
            sum_xy += v * y
            sum_yn += y * n
            sum_xn += v * n
    count = (outer * inner).to(ACC)
    mean_y = tl.sum(sum_y, axis=0) / count
    mean_x = tl.sum(sum_x, axis=0) / count
    mean_yn = tl.sum(sum_yn, axis=0) / count
    mean_xn = tl.sum(sum_xn, axis=0) / count
    product = tl.sum(sum_xy, axis=0)
    if not FIXED:
        product -= count * (mean_x * mean_y + mean_xn * mean_yn)
    tl.store(dscale + group, (r * product).to(dscale.dtype.element_ty))
    for o in range(0, outer):
        begin = (o.to(tl.int64) * groups + group) * inner
        for start in range(0, inner, BLOCK):
            mask = lane < inner - start
            at = begin + start + lane
            n = (tl.load(x + at, mask=mask, other=0).to(ACC) - m) * r
            y = tl.load(dy + at, mask=mask, other=0).to(ACC)
            v = tl.load(ddx + at, mask=mask, other=0).to(ACC)
            if FIXED:
                back = a * r * y
            else:
                y = y - mean_y - n * mean_yn
                v = v - mean_x - n * mean_xn
                back = a * r * y - s * r * r * (n * (product / count) + mean_yn * v + mean_xn * y)
            tl.store(dx + at, back.to(dx.dtype.element_ty), mask=mask)
            tl.store(ddy + at, (s * r * v + a * n + b).to(ddy.dtype.element_ty), mask=mask)
