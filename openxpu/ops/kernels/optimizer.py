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
def old(param, master, at, mask, MASTER: tl.constexpr, ACC: tl.constexpr):
    """The parameter before the step, from its master copy when there is one."""
    if MASTER:
        p = tl.load(master + at, mask=mask, other=0).to(ACC)
    else:
        p = tl.load(param + at, mask=mask, other=0).to(ACC)
    return p


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
    p = old(param, master, first + offsets, mask, MASTER, ACC)
    g = tl.load(grad + first + offsets, mask=mask, other=0).to(ACC)
    finish(p - lr * g, param_out, master_out, first + offsets, mask, MASTER)


@triton.jit
def momentum(
    param, grad, velocity, rate, factor, master, param_out, velocity_out, master_out, n, mu, decay, rescale,
    NESTEROV: tl.constexpr, DECAY: tl.constexpr, FACTOR: tl.constexpr, MASTER: tl.constexpr, ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """FACTOR: the gradient is multiplied by *factor first, which clipping found."""
    first, offsets, mask = place(n, BLOCK)
    lr = tl.load(rate).to(ACC)
    p = old(param, master, first + offsets, mask, MASTER, ACC)
    g = tl.load(grad + first + offsets, mask=mask, other=0).to(ACC)
    if FACTOR:
        g = g * tl.load(factor).to(ACC)
    g = g * rescale
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
    p = old(param, master, first + offsets, mask, MASTER, ACC)
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
    p = old(param, master, first + offsets, mask, MASTER, ACC)
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
    p = old(param, master, first + offsets, mask, MASTER, ACC)
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
    p = old(param, master, first + offsets, mask, MASTER, ACC)
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
    p = old(param, master, first + offsets, mask, MASTER, ACC)
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


@triton.jit
def nadam(
    param, grad, rate, decay_power, power2, mu_product, moment1, moment2, master,
    param_out, moment1_out, moment2_out, master_out, n, beta1, beta2, epsilon, decay,
    MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Adam with Nesterov momentum (Dozat 2016). The scalars are those before the step."""
    first, offsets, mask = place(n, BLOCK)
    at = first + offsets
    lr = tl.load(rate).to(ACC)
    p2 = tl.load(power2).to(ACC) * beta2
    mu, mu_next = nadam_mu(tl.load(decay_power).to(ACC), beta1, decay)
    product = tl.load(mu_product).to(ACC) * mu
    p = old(param, master, at, mask, MASTER, ACC)
    g = tl.load(grad + at, mask=mask, other=0).to(ACC)
    m1 = beta1 * tl.load(moment1 + at, mask=mask, other=0).to(ACC) + (1.0 - beta1) * g
    m2 = beta2 * tl.load(moment2 + at, mask=mask, other=0).to(ACC) + (1.0 - beta2) * g * g
    ahead = mu_next * m1 / (1.0 - product * mu_next) + (1.0 - mu) * g / (1.0 - product)
    tl.store(moment1_out + at, m1.to(moment1_out.dtype.element_ty), mask=mask)
    tl.store(moment2_out + at, m2.to(moment2_out.dtype.element_ty), mask=mask)
    p = p - lr * ahead / (tl.sqrt(m2 / (1.0 - p2)) + epsilon)
    finish(p, param_out, master_out, at, mask, MASTER)


@triton.jit
def nadam_mu(decay_power, beta1, decay):
    """mu of this step and of the next; decay_power is 0.96^(t - 1)."""
    now = tl.exp(decay * tl.log(decay_power * 0.96))
    then = tl.exp(decay * tl.log(decay_power * 0.96 * 0.96))
    return beta1 * (1.0 - 0.5 * now), beta1 * (1.0 - 0.5 * then)


@triton.jit
def nadam_scalars(
    decay_power, power2, mu_product, decay_power_out, power2_out, mu_product_out, beta1, beta2, decay, ACC: tl.constexpr
):  # fmt: skip
    """The scalars move on by one step, after every program of the step has read them."""
    power = tl.load(decay_power).to(ACC)
    p2 = tl.load(power2).to(ACC) * beta2
    mu, _ = nadam_mu(power, beta1, decay)
    product = tl.load(mu_product).to(ACC) * mu
    tl.store(decay_power_out, (power * 0.96).to(decay_power_out.dtype.element_ty))
    tl.store(power2_out, p2.to(power2_out.dtype.element_ty))
    tl.store(mu_product_out, product.to(mu_product_out.dtype.element_ty))


@triton.jit
def radam(
    param, grad, rate, power1, power2, rho, moment1, moment2, master,
    param_out, moment1_out, moment2_out, master_out, n, beta1, beta2, epsilon,
    MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Rectified Adam (Liu and others 2020). The scalars are those before the step."""
    first, offsets, mask = place(n, BLOCK)
    at = first + offsets
    lr = tl.load(rate).to(ACC)
    p1 = tl.load(power1).to(ACC) * beta1
    p2 = tl.load(power2).to(ACC) * beta2
    limit = 2.0 / (1.0 - beta2) - 1.0
    length = limit - 2.0 * radam_rho(tl.load(rho).to(ACC), p2, beta2)
    p = old(param, master, at, mask, MASTER, ACC)
    g = tl.load(grad + at, mask=mask, other=0).to(ACC)
    m1 = beta1 * tl.load(moment1 + at, mask=mask, other=0).to(ACC) + (1.0 - beta1) * g
    m2 = beta2 * tl.load(moment2 + at, mask=mask, other=0).to(ACC) + (1.0 - beta2) * g * g
    tl.store(moment1_out + at, m1.to(moment1_out.dtype.element_ty), mask=mask)
    tl.store(moment2_out + at, m2.to(moment2_out.dtype.element_ty), mask=mask)
    rectified = (length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length)
    trusted = length > 5.0
    root = tl.sqrt(tl.where(trusted, rectified, 1.0))
    factor = tl.where(trusted, root * tl.sqrt(1.0 - p2) / (tl.sqrt(m2) + epsilon), 1.0)
    finish(p - lr * (m1 / (1.0 - p1)) * factor, param_out, master_out, at, mask, MASTER)


@triton.jit
def radam_rho(rho, power2, beta2):
    """t * beta2^t / (1 - beta2^t), from its value a step before."""
    return (rho * (beta2 - power2) + power2) / (1.0 - power2)


@triton.jit
def radam_scalars(power1, power2, rho, power1_out, power2_out, rho_out, beta1, beta2, ACC: tl.constexpr):
    """The scalars move on by one step, after every program of the step has read them."""
    p1 = tl.load(power1).to(ACC) * beta1
    p2 = tl.load(power2).to(ACC) * beta2
    r = radam_rho(tl.load(rho).to(ACC), p2, beta2)
    tl.store(power1_out, p1.to(power1_out.dtype.element_ty))
    tl.store(power2_out, p2.to(power2_out.dtype.element_ty))
    tl.store(rho_out, r.to(rho_out.dtype.element_ty))


@triton.jit
def rprop(
    param, grad, before, rate, limits, etas, master, param_out, before_out, rate_out, master_out, n,
    MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Resilient propagation (Riedmiller and Braun 1993), without weight backtracking: each element has its own rate, which
    grows while the gradient keeps its sign; where the sign turns the gradient counts as 0."""
    first, offsets, mask = place(n, BLOCK)
    at = first + offsets
    p = old(param, master, at, mask, MASTER, ACC)
    g = tl.load(grad + at, mask=mask, other=0).to(ACC)
    product = g * tl.load(before + at, mask=mask, other=0).to(ACC)
    shrink = tl.load(etas).to(ACC)
    grow = tl.load(etas + 1).to(ACC)
    g = tl.where(product < 0.0, 0.0, g)
    lr = tl.load(rate + at, mask=mask, other=0).to(ACC)
    lr = lr * tl.where(product > 0.0, grow, tl.where(product < 0.0, shrink, 1.0))
    lr = tl.minimum(tl.maximum(lr, tl.load(limits).to(ACC)), tl.load(limits + 1).to(ACC))
    step = tl.where(g > 0.0, lr, tl.where(g < 0.0, -lr, 0.0))
    tl.store(before_out + at, g.to(before_out.dtype.element_ty), mask=mask)
    tl.store(rate_out + at, lr.to(rate_out.dtype.element_ty), mask=mask)
    finish(p - step, param_out, master_out, at, mask, MASTER)


@triton.jit
def asgd(
    param, grad, rate, total, kept, count, master, param_out, total_out, kept_out, master_out, n,
    MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Averaged SGD: `total` is the sum of the last gradient of each of `count` batches, `kept` that of this batch."""
    first, offsets, mask = place(n, BLOCK)
    at = first + offsets
    lr = tl.load(rate).to(ACC) / tl.load(count).to(ACC)
    p = old(param, master, at, mask, MASTER, ACC)
    g = tl.load(grad + at, mask=mask, other=0).to(ACC)
    d = tl.load(total + at, mask=mask, other=0).to(ACC)
    d = d - tl.load(kept + at, mask=mask, other=0).to(ACC) + g
    tl.store(total_out + at, d.to(total_out.dtype.element_ty), mask=mask)
    tl.store(kept_out + at, g.to(kept_out.dtype.element_ty), mask=mask)
    finish(p - lr * d, param_out, master_out, at, mask, MASTER)


@triton.jit
def decayed_adagrad(
    param, grad, moment, rate, master, param_out, moment_out, master_out, n, decay, epsilon,
    MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    first, offsets, mask = place(n, BLOCK)
    at = first + offsets
    lr = tl.load(rate).to(ACC)
    p = old(param, master, at, mask, MASTER, ACC)
    g = tl.load(grad + at, mask=mask, other=0).to(ACC)
    m = decay * tl.load(moment + at, mask=mask, other=0).to(ACC) + (1.0 - decay) * g * g
    tl.store(moment_out + at, m.to(moment_out.dtype.element_ty), mask=mask)
    finish(p - lr * g / (tl.sqrt(m) + epsilon), param_out, master_out, at, mask, MASTER)


@triton.jit
def lamb_direction(
    param, grad, moment1, moment2, power1, power2, master, skip, moment1_out, moment2_out, direction,
    n, beta1, beta2, epsilon, decay, SKIP: tl.constexpr, MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The direction of LAMB (You and others 2020): that of Adam plus the decayed parameter."""
    first, offsets, mask = place(n, BLOCK)
    at = first + offsets
    p = old(param, master, at, mask, MASTER, ACC)
    g = tl.load(grad + at, mask=mask, other=0).to(ACC)
    m1 = tl.load(moment1 + at, mask=mask, other=0).to(ACC)
    m2 = tl.load(moment2 + at, mask=mask, other=0).to(ACC)
    n1 = beta1 * m1 + (1.0 - beta1) * g
    n2 = beta2 * m2 + (1.0 - beta2) * g * g
    mean = n1 / (1.0 - tl.load(power1).to(ACC))
    root = tl.sqrt(n2 / (1.0 - tl.load(power2).to(ACC)))
    tl.store(direction + at, mean / (root + epsilon) + decay * p, mask=mask)
    if SKIP:
        skipped = tl.load(skip) != 0
        n1 = tl.where(skipped, m1, n1)
        n2 = tl.where(skipped, m2, n2)
    tl.store(moment1_out + at, n1.to(moment1_out.dtype.element_ty), mask=mask)
    tl.store(moment2_out + at, n2.to(moment2_out.dtype.element_ty), mask=mask)


@triton.jit
def lamb(
    param, rate, direction, param_square, direction_square, master, skip, param_out, master_out,
    n, ADAPT: tl.constexpr, SKIP: tl.constexpr, MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """param -= rate * ratio * direction; ADAPT: the ratio is |param| / |direction|, where both are positive."""
    first, offsets, mask = place(n, BLOCK)
    at = first + offsets
    lr = tl.load(rate).to(ACC)
    if ADAPT:
        ps = tl.load(param_square).to(ACC)
        ds = tl.load(direction_square).to(ACC)
        both = (ps > 0.0) & (ds > 0.0)
        lr = lr * tl.where(both, tl.sqrt(ps) / tl.sqrt(tl.where(both, ds, 1.0)), 1.0)
    p = old(param, master, at, mask, MASTER, ACC)
    q = p - lr * tl.load(direction + at, mask=mask, other=0)
    if SKIP:
        q = tl.where(tl.load(skip) != 0, p, q)
    finish(q, param_out, master_out, at, mask, MASTER)


@triton.jit
def lars(
    param, grad, velocity, rate, param_square, grad_square, master, param_out, velocity_out, master_out,
    n, mu, coefficient, decay, epsilon, rescale, MASTER: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Momentum with a rate for each layer (You and others 2017)."""
    first, offsets, mask = place(n, BLOCK)
    at = first + offsets
    lr = tl.load(rate).to(ACC)
    pn = tl.sqrt(tl.load(param_square).to(ACC))
    gn = tl.sqrt(tl.load(grad_square).to(ACC)) * tl.abs(rescale)
    local = lr * coefficient * pn / (gn + decay * pn + epsilon)
    lr = tl.where((decay > 0.0) & (pn > 0.0) & (gn > 0.0), local, lr)
    p = old(param, master, at, mask, MASTER, ACC)
    g = tl.load(grad + at, mask=mask, other=0).to(ACC) * rescale
    v = tl.load(velocity + at, mask=mask, other=0).to(ACC) * mu + lr * (g + decay * p)
    tl.store(velocity_out + at, v.to(velocity_out.dtype.element_ty), mask=mask)
    finish(p - v, param_out, master_out, at, mask, MASTER)


@triton.jit
def average_window(accumulates, updates, window, longest, shortest, ACC: tl.constexpr):
    """Counters after this step, whether the first sum moves on to the second, and whether a new window begins."""
    count = tl.load(accumulates) + 1
    update = tl.load(updates) + 1
    spill = update % 16384 == 0
    limit = tl.minimum(longest.to(ACC), update.to(ACC) * window)
    restart = (count >= shortest) & (count.to(ACC) >= limit)
    return count, update, spill, restart


@triton.jit
def average_accumulates(
    param, sum1, sum2, sum3, accumulates, updates, sum1_out, sum2_out, sum3_out, n, window, longest, shortest,
    ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Sums of a parameter over a sliding window, in three parts so that none adds up too many."""
    first, offsets, mask = place(n, BLOCK)
    at = first + offsets
    _, _, spill, restart = average_window(accumulates, updates, window, longest, shortest, ACC)
    a = tl.load(sum1 + at, mask=mask, other=0).to(ACC) + tl.load(param + at, mask=mask, other=0).to(ACC)
    b = tl.load(sum2 + at, mask=mask, other=0).to(ACC)
    c = tl.load(sum3 + at, mask=mask, other=0).to(ACC)
    one = tl.where(spill | restart, 0.0, a)
    two = tl.where(restart, 0.0, tl.where(spill, b + a, b))
    three = tl.where(restart, a + b, c)
    tl.store(sum1_out + at, one.to(sum1_out.dtype.element_ty), mask=mask)
    tl.store(sum2_out + at, two.to(sum2_out.dtype.element_ty), mask=mask)
    tl.store(sum3_out + at, three.to(sum3_out.dtype.element_ty), mask=mask)


@triton.jit
def average_counters(
    accumulates, before, updates, accumulates_out, before_out, updates_out, window, longest, shortest, ACC: tl.constexpr
):  # fmt: skip
    """The counters move on, after every program of the step has read them."""
    count, update, _, restart = average_window(accumulates, updates, window, longest, shortest, ACC)
    earlier = tl.load(before)
    tl.store(before_out, tl.where(restart, count, earlier))
    tl.store(accumulates_out, tl.where(restart, 0, count))
    tl.store(updates_out, update)


@triton.jit
def clip_factor(squares, norm, factor, n, limit, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """norm = the root of the sum of n squared norms; factor = limit / norm where that is below 1, else 1."""
    total = tl.zeros((BLOCK,), ACC)
    for first in range(0, n, BLOCK):
        offsets = first + tl.arange(0, BLOCK)
        total += tl.load(squares + offsets, mask=offsets < n, other=0).to(ACC)
    length = tl.sqrt(tl.sum(total, 0))
    tl.store(norm, length.to(norm.dtype.element_ty))
    tl.store(
        factor,
        (limit / tl.maximum(length, limit, propagate_nan=tl.PropagateNan.ALL)).to(factor.dtype.element_ty),
    )
