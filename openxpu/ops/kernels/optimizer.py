# Optimizer steps: each is one streaming pass over a parameter and its state.
"""`param` may be f16 or bf16 with a `master` copy in f32, which then is what is updated. Every output may share its
memory with its input. A tile reads everything before it writes anything."""

import triton
import triton.language as tl


@triton.jit
def finish(value, param_out, master_out, at, mask, MASTER: tl.constexpr):
    """Writes the new parameter, and its master copy."""
    tl.store(param_out + at, value.to(param_out.dtype.element_ty), mask=mask)
    if MASTER:
        tl.store(master_out + at, value.to(master_out.dtype.element_ty), mask=mask)


@triton.jit
def place(n, BLOCK: tl.constexpr):
    """Start, offsets and mask of this program's block of n elements."""
    first = tl.program_id(0).to(tl.int64) * BLOCK
    offsets = tl.arange(0, BLOCK)
    return first, offsets, offsets < tl.minimum(n - first, BLOCK).to(tl.int32)


@triton.jit
def sgd(
    param,
    rate,
    grad,
    master,
    param_out,
    master_out,
    n,
    MASTER: tl.constexpr,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    first, offsets, mask = place(n, BLOCK)
    lr = tl.load(rate).to(ACC)
    if MASTER:
        p = tl.load(master + first + offsets, mask=mask, other=0).to(ACC)
    else:
        p = tl.load(param + first + offsets, mask=mask, other=0).to(ACC)
    g = tl.load(grad + first + offsets, mask=mask, other=0).to(ACC)
    finish(p - lr * g, param_out, master_out, first + offsets, mask, MASTER)


@triton.jit
def momentum(
    param, grad, velocity, rate, master, param_out, velocity_out, master_out, n, mu, decay, rescale,
    NESTEROV: tl.constexpr, DECAY: tl.constexpr, MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first, offsets, mask = place(n, BLOCK)
    lr = tl.load(rate).to(ACC)
    if MASTER:
        p = tl.load(master + first + offsets, mask=mask, other=0).to(ACC)
    else:
        p = tl.load(param + first + offsets, mask=mask, other=0).to(ACC)
    g = tl.load(grad + first + offsets, mask=mask, other=0).to(ACC) * rescale
    if DECAY:
        g = g + decay * p
    v = tl.load(velocity + first + offsets, mask=mask, other=0).to(ACC) * mu + g
    if NESTEROV:
        p = p - (g + v * mu) * lr
    else:
        p = p - lr * v
    tl.store(velocity_out + first + offsets, v.to(velocity_out.dtype.element_ty), mask=mask)
    finish(p, param_out, master_out, first + offsets, mask, MASTER)


@triton.jit
def adam(
    param, grad, rate, moment1, moment2, moment2_max, power1, power2, master, skip,
    param_out, moment1_out, moment2_out, moment2_max_out, master_out,
    n, beta1, beta2, epsilon, rate_ratio, decay,
    AMSGRAD: tl.constexpr, DECAY: tl.constexpr, SKIP: tl.constexpr, MASTER: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Adam (Kingma and Ba 2015); DECAY: AdamW (Loshchilov and Hutter 2019). power1 and power2 hold beta^t of this step.
    SKIP: nothing changes when *skip is true."""
    first, offsets, mask = place(n, BLOCK)
    lr = tl.load(rate).to(ACC) * rate_ratio
    root = tl.sqrt(1.0 - tl.load(power2).to(ACC))
    step = lr * root / (1.0 - tl.load(power1).to(ACC))
    floor = epsilon * root
    if MASTER:
        p = tl.load(master + first + offsets, mask=mask, other=0).to(ACC)
    else:
        p = tl.load(param + first + offsets, mask=mask, other=0).to(ACC)
    g = tl.load(grad + first + offsets, mask=mask, other=0).to(ACC)
    m1 = tl.load(moment1 + first + offsets, mask=mask, other=0).to(ACC)
    m2 = tl.load(moment2 + first + offsets, mask=mask, other=0).to(ACC)
    if AMSGRAD:
        top = tl.load(moment2_max + first + offsets, mask=mask, other=0).to(ACC)
    q = p
    if DECAY:
        q = p * (1.0 - lr * decay)
    n1 = beta1 * m1 + (1.0 - beta1) * g
    n2 = beta2 * m2 + (1.0 - beta2) * g * g
    if AMSGRAD:
        peak = tl.maximum(n2, top)
        q = q - step * (n1 / (tl.sqrt(peak) + floor))
    else:
        q = q - step * (n1 / (tl.sqrt(n2) + floor))
    if SKIP:
        skipped = tl.load(skip) != 0
        q = tl.where(skipped, p, q)
        n1 = tl.where(skipped, m1, n1)
        n2 = tl.where(skipped, m2, n2)
        if AMSGRAD:
            peak = tl.where(skipped, top, peak)
    tl.store(moment1_out + first + offsets, n1.to(moment1_out.dtype.element_ty), mask=mask)
    tl.store(moment2_out + first + offsets, n2.to(moment2_out.dtype.element_ty), mask=mask)
    if AMSGRAD:
        tl.store(moment2_max_out + first + offsets, peak.to(moment2_max_out.dtype.element_ty), mask=mask)
    finish(q, param_out, master_out, first + offsets, mask, MASTER)


@triton.jit
def adam_powers(
    power1, power2, skip, power1_out, power2_out, beta1, beta2, SKIP: tl.constexpr, ACC: tl.constexpr
):
    """The powers of beta move on by one step, after every program of the step has read them."""
    p1 = tl.load(power1).to(ACC)
    p2 = tl.load(power2).to(ACC)
    n1 = p1 * beta1
    n2 = p2 * beta2
    if SKIP:
        skipped = tl.load(skip) != 0
        n1 = tl.where(skipped, p1, n1)
        n2 = tl.where(skipped, p2, n2)
    tl.store(power1_out, n1.to(power1_out.dtype.element_ty))
    tl.store(power2_out, n2.to(power2_out.dtype.element_ty))


@triton.jit
def rmsprop(
    param, mean_square, grad, moment, rate, mean_grad, master,
    param_out, moment_out, mean_square_out, mean_grad_out, master_out,
    n, epsilon, rho, mu, CENTERED: tl.constexpr, MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first, offsets, mask = place(n, BLOCK)
    lr = tl.load(rate).to(ACC)
    if MASTER:
        p = tl.load(master + first + offsets, mask=mask, other=0).to(ACC)
    else:
        p = tl.load(param + first + offsets, mask=mask, other=0).to(ACC)
    g = tl.load(grad + first + offsets, mask=mask, other=0).to(ACC)
    s = rho * tl.load(mean_square + first + offsets, mask=mask, other=0).to(ACC) + (1.0 - rho) * g * g
    m = tl.load(moment + first + offsets, mask=mask, other=0).to(ACC)
    if CENTERED:
        c = rho * tl.load(mean_grad + first + offsets, mask=mask, other=0).to(ACC) + (1.0 - rho) * g
        m = mu * m + lr * g / tl.sqrt(s - c * c + epsilon)
        tl.store(mean_grad_out + first + offsets, c.to(mean_grad_out.dtype.element_ty), mask=mask)
    else:
        m = mu * m + lr * g / tl.sqrt(s + epsilon)
    tl.store(mean_square_out + first + offsets, s.to(mean_square_out.dtype.element_ty), mask=mask)
    tl.store(moment_out + first + offsets, m.to(moment_out.dtype.element_ty), mask=mask)
    finish(p - m, param_out, master_out, first + offsets, mask, MASTER)


@triton.jit
def adagrad(
    param, grad, moment, rate, master, param_out, moment_out, master_out, n, epsilon,
    MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first, offsets, mask = place(n, BLOCK)
    lr = tl.load(rate).to(ACC)
    if MASTER:
        p = tl.load(master + first + offsets, mask=mask, other=0).to(ACC)
    else:
        p = tl.load(param + first + offsets, mask=mask, other=0).to(ACC)
    g = tl.load(grad + first + offsets, mask=mask, other=0).to(ACC)
    m = tl.load(moment + first + offsets, mask=mask, other=0).to(ACC) + g * g
    tl.store(moment_out + first + offsets, m.to(moment_out.dtype.element_ty), mask=mask)
    finish(p - lr * g / (tl.sqrt(m) + epsilon), param_out, master_out, first + offsets, mask, MASTER)


@triton.jit
def adamax(
    param, grad, rate, moment, peak, power1, master, param_out, moment_out, peak_out, master_out,
    n, beta1, beta2, epsilon, MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first, offsets, mask = place(n, BLOCK)
    lr = tl.load(rate).to(ACC) / (1.0 - tl.load(power1).to(ACC))
    if MASTER:
        p = tl.load(master + first + offsets, mask=mask, other=0).to(ACC)
    else:
        p = tl.load(param + first + offsets, mask=mask, other=0).to(ACC)
    g = tl.load(grad + first + offsets, mask=mask, other=0).to(ACC)
    m = beta1 * tl.load(moment + first + offsets, mask=mask, other=0).to(ACC) + (1.0 - beta1) * g
    top = tl.maximum(tl.abs(g), beta2 * tl.load(peak + first + offsets, mask=mask, other=0).to(ACC) + epsilon)
    tl.store(moment_out + first + offsets, m.to(moment_out.dtype.element_ty), mask=mask)
    tl.store(peak_out + first + offsets, top.to(peak_out.dtype.element_ty), mask=mask)
    finish(p - lr * (m / top), param_out, master_out, first + offsets, mask, MASTER)


@triton.jit
def adadelta(
    param, grad, square_grad, square_update, rate, master, param_out, square_grad_out, square_update_out, master_out,
    n, rho, epsilon, MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first, offsets, mask = place(n, BLOCK)
    lr = tl.load(rate).to(ACC)
    if MASTER:
        p = tl.load(master + first + offsets, mask=mask, other=0).to(ACC)
    else:
        p = tl.load(param + first + offsets, mask=mask, other=0).to(ACC)
    g = tl.load(grad + first + offsets, mask=mask, other=0).to(ACC)
    s = rho * tl.load(square_grad + first + offsets, mask=mask, other=0).to(ACC) + (1.0 - rho) * g * g
    u = tl.load(square_update + first + offsets, mask=mask, other=0).to(ACC)
    d = -tl.sqrt((u + epsilon) / (s + epsilon)) * g
    u = rho * u + (1.0 - rho) * d * d
    tl.store(square_grad_out + first + offsets, s.to(square_grad_out.dtype.element_ty), mask=mask)
    tl.store(square_update_out + first + offsets, u.to(square_update_out.dtype.element_ty), mask=mask)
    finish(p + lr * d, param_out, master_out, first + offsets, mask, MASTER)


@triton.jit
def clip_to_norm(x, square, out, n, limit, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """out = x * limit / norm where norm > limit; *square is the squared norm of x."""
    first, offsets, mask = place(n, BLOCK)
    norm = tl.sqrt(tl.load(square).to(ACC))
    factor = tl.where(norm > limit, limit / tl.where(norm > 0, norm, 1.0), 1.0)
    v = tl.load(x + first + offsets, mask=mask, other=0).to(ACC) * factor
    tl.store(out + first + offsets, v.to(out.dtype.element_ty), mask=mask)
