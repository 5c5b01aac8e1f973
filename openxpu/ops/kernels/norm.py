# Normalisation kernels: layer norm, batch norm (channels first and last), group and instance norm.
"""Statistics are taken in one pass over values shifted by the mean of the first tile: the shift is then never
further from the true mean than sqrt(tiles) standard deviations, so nothing is lost by cancellation."""

import triton
import triton.language as tl

# ---- layer norm: x [rows, n], statistics per row ----


@triton.jit
def layer_norm_rows(
    x, scale, bias, y, mean_out, variance_out, n, epsilon,
    HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr, ACC: tl.constexpr, STREAM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row of n <= BLOCK elements a program."""
    row = tl.program_id(0)
    start = row.to(tl.int64) * n
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n
    v = tl.load(x + start + offsets, mask=mask, other=0).to(ACC)
    mean = tl.sum(v, axis=0) / n
    d = tl.where(mask, v - mean, 0.0)
    variance = tl.sum(d * d, axis=0) / n
    v = d * (1.0 / tl.sqrt(variance + epsilon))
    if HAS_SCALE:
        v = v * tl.load(scale + offsets, mask=mask, other=0).to(ACC)
    if HAS_BIAS:
        v = v + tl.load(bias + offsets, mask=mask, other=0).to(ACC)
    modifier: tl.constexpr = ".cs" if STREAM else ""
    tl.store(y + start + offsets, v.to(y.dtype.element_ty), mask=mask, cache_modifier=modifier)
    tl.store(mean_out + row, mean.to(mean_out.dtype.element_ty))
    tl.store(variance_out + row, variance.to(variance_out.dtype.element_ty))


@triton.jit
def layer_norm_long_rows(
    x, scale, bias, y, mean_out, variance_out, n, epsilon,
    HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row a program, in tiles: mean, variance, result."""
    row = tl.program_id(0)
    start = row.to(tl.int64) * n
    x += start
    y += start
    offsets = tl.arange(0, BLOCK)
    total = tl.full((), 0.0, ACC)
    for at in range(0, n, BLOCK):
        total += tl.sum(tl.load(x + at + offsets, mask=offsets < n - at, other=0).to(ACC), axis=0)
    mean = total / n
    total = tl.full((), 0.0, ACC)
    for at in range(0, n, BLOCK):
        mask = offsets < n - at
        d = tl.where(mask, tl.load(x + at + offsets, mask=mask, other=0).to(ACC) - mean, 0.0)
        total += tl.sum(d * d, axis=0)
    variance = total / n
    factor = 1.0 / tl.sqrt(variance + epsilon)
    for at in range(0, n, BLOCK):
        mask = offsets < n - at
        v = (tl.load(x + at + offsets, mask=mask, other=0).to(ACC) - mean) * factor
        if HAS_SCALE:
            v = v * tl.load(scale + at + offsets, mask=mask, other=0).to(ACC)
        if HAS_BIAS:
            v = v + tl.load(bias + at + offsets, mask=mask, other=0).to(ACC)
        tl.store(y + at + offsets, v.to(y.dtype.element_ty), mask=mask)
    tl.store(mean_out + row, mean.to(mean_out.dtype.element_ty))
    tl.store(variance_out + row, variance.to(variance_out.dtype.element_ty))


@triton.jit
def layer_norm_grad_rows(
    x, scale, mean, variance, dy, dx, dscale_parts, dbias_parts, rows, n, chunk, epsilon,
    HAS_SCALE: tl.constexpr, WANT_X: tl.constexpr, WANT_SCALE: tl.constexpr, WANT_BIAS: tl.constexpr,
    ACC: tl.constexpr, STREAM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program p goes through `chunk` rows: dx for each, and its part of the sums of dscale and dbias."""
    part = tl.program_id(0)
    first = part * chunk
    count = tl.minimum(rows - first, chunk)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n
    if HAS_SCALE:
        gamma = tl.load(scale + offsets, mask=mask, other=0).to(ACC)
    dscale = tl.full((BLOCK,), 0.0, ACC)
    dbias = tl.full((BLOCK,), 0.0, ACC)
    at = first.to(tl.int64) * n
    for i in range(0, count):
        row = first + i
        center = tl.load(mean + row).to(ACC)
        factor = 1.0 / tl.sqrt(tl.load(variance + row).to(ACC) + epsilon)
        g = tl.load(dy + at + offsets, mask=mask, other=0).to(ACC)
        v = (tl.load(x + at + offsets, mask=mask, other=0).to(ACC) - center) * factor
        if WANT_SCALE:
            dscale += g * v
        if WANT_BIAS:
            dbias += g
        if WANT_X:
            if HAS_SCALE:
                g = g * gamma
            shift = tl.sum(g, axis=0) / n
            slope = tl.sum(g * v, axis=0) / n
            d = (g - shift - v * slope) * factor
            modifier: tl.constexpr = ".cs" if STREAM else ""
            tl.store(dx + at + offsets, d.to(dx.dtype.element_ty), mask=mask, cache_modifier=modifier)
        at += n
    if WANT_SCALE:
        tl.store(dscale_parts + part.to(tl.int64) * n + offsets, dscale, mask=mask)
    if WANT_BIAS:
        tl.store(dbias_parts + part.to(tl.int64) * n + offsets, dbias, mask=mask)


# ---- rms norm: y = x / sqrt(mean(x^2) + epsilon) * scale ----


@triton.jit
def rms_norm_rows(
    x,
    scale,
    y,
    factor_out,
    n,
    epsilon,
    HAS_SCALE: tl.constexpr,
    ACC: tl.constexpr,
    STREAM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0)
    start = row.to(tl.int64) * n
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n
    v = tl.load(x + start + offsets, mask=mask, other=0).to(ACC)
    factor = 1.0 / tl.sqrt(tl.sum(v * v, axis=0) / n + epsilon)
    v = v * factor
    if HAS_SCALE:
        v = v * tl.load(scale + offsets, mask=mask, other=0).to(ACC)
    modifier: tl.constexpr = ".cs" if STREAM else ""
    tl.store(y + start + offsets, v.to(y.dtype.element_ty), mask=mask, cache_modifier=modifier)
    tl.store(factor_out + row, factor.to(factor_out.dtype.element_ty))


@triton.jit
def rms_norm_grad_rows(
    x, scale, factors, dy, dx, dscale_parts, rows, n, chunk,
    HAS_SCALE: tl.constexpr, ACC: tl.constexpr, STREAM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0)
    first = part * chunk
    count = tl.minimum(rows - first, chunk)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < n
    if HAS_SCALE:
        gamma = tl.load(scale + offsets, mask=mask, other=0).to(ACC)
    dscale = tl.full((BLOCK,), 0.0, ACC)
    at = first.to(tl.int64) * n
    for i in range(0, count):
        factor = tl.load(factors + first + i).to(ACC)
        g = tl.load(dy + at + offsets, mask=mask, other=0).to(ACC)
        v = tl.load(x + at + offsets, mask=mask, other=0).to(ACC) * factor
        dscale += g * v
        if HAS_SCALE:
            g = g * gamma
        slope = tl.sum(g * v, axis=0) / n
        modifier: tl.constexpr = ".cs" if STREAM else ""
        tl.store(
            dx + at + offsets,
            ((g - v * slope) * factor).to(dx.dtype.element_ty),
            mask=mask,
            cache_modifier=modifier,
        )
        at += n
    if HAS_SCALE:
        tl.store(dscale_parts + part.to(tl.int64) * n + offsets, dscale, mask=mask)


# ---- batch norm, channels first: x [images, channels, pixels] ----


@triton.jit
def channel_statistics(
    x, images, stride, pixels, ACC: tl.constexpr, IMAGES: tl.constexpr, PIXELS: tl.constexpr
):
    """Mean and (biased) variance of one channel: `images` planes of `pixels`, `stride` elements apart. A tile has
    IMAGES planes by PIXELS pixels; with IMAGES > 1 a plane is no longer than PIXELS."""
    p = tl.arange(0, PIXELS)
    shift = tl.full((), 0.0, ACC)
    total = tl.full((), 0.0, ACC)
    squares = tl.full((), 0.0, ACC)
    if IMAGES == 1:
        left = tl.minimum(pixels, PIXELS)
        shift = tl.sum(tl.load(x + p, mask=p < left, other=0).to(ACC), axis=0) / left
        at = tl.full((), 0, tl.int64)
        for _i in range(0, images):
            for start in range(0, pixels, PIXELS):
                mask = p < pixels - start
                d = tl.where(mask, tl.load(x + at + start + p, mask=mask, other=0).to(ACC) - shift, 0.0)
                total += tl.sum(d, axis=0)
                squares += tl.sum(d * d, axis=0)
            at += stride
    else:
        r = tl.arange(0, IMAGES)
        inside = p < pixels
        planes = tl.minimum(images, IMAGES)
        mask = (r < planes)[:, None] & inside[None, :]
        tile = r.to(tl.int64)[:, None] * stride + p[None, :]
        v = tl.load(x + tile, mask=mask, other=0).to(ACC)
        shift = tl.sum(tl.sum(v, axis=1), axis=0) / (planes * pixels)
        at = tl.full((), 0, tl.int64)
        for start in range(0, images, IMAGES):
            mask = (r < images - start)[:, None] & inside[None, :]
            d = tl.where(mask, tl.load(x + at + tile, mask=mask, other=0).to(ACC) - shift, 0.0)
            total += tl.sum(tl.sum(d, axis=1), axis=0)
            squares += tl.sum(tl.sum(d * d, axis=1), axis=0)
            at += IMAGES * stride
    count = (images * pixels).to(ACC)
    offset = total / count
    variance = tl.maximum(squares / count - offset * offset, 0.0)
    return shift + offset, variance


@triton.jit
def affine_channel(
    x, y, images, stride, pixels, a, c, ACC: tl.constexpr, IMAGES: tl.constexpr, PIXELS: tl.constexpr
):
    """y = x * a + c over one channel."""
    p = tl.arange(0, PIXELS)
    at = tl.full((), 0, tl.int64)
    if IMAGES == 1:
        for _i in range(0, images):
            for start in range(0, pixels, PIXELS):
                mask = p < pixels - start
                v = tl.load(x + at + start + p, mask=mask, other=0).to(ACC) * a + c
                tl.store(y + at + start + p, v.to(y.dtype.element_ty), mask=mask)
            at += stride
    else:
        r = tl.arange(0, IMAGES)
        inside = p < pixels
        tile = r.to(tl.int64)[:, None] * stride + p[None, :]
        for start in range(0, images, IMAGES):
            mask = (r < images - start)[:, None] & inside[None, :]
            v = tl.load(x + at + tile, mask=mask, other=0).to(ACC) * a + c
            tl.store(y + at + tile, v.to(y.dtype.element_ty), mask=mask)
            at += IMAGES * stride


@triton.jit
def batch_norm_channels(
    x, scale, bias, mean, variance, y, mean_out, variance_out, saved_mean, saved_factor,
    images, pixels, momentum, epsilon,
    HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr, ACC: tl.constexpr, IMAGES: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Training: one channel a program, which finds its statistics, moves the running ones, and normalises while the
    channel is still in the cache. saved_factor is 1 / sqrt(variance + epsilon)."""
    channel = tl.program_id(0)
    stride = tl.num_programs(0).to(tl.int64) * pixels
    x += channel.to(tl.int64) * pixels
    y += channel.to(tl.int64) * pixels
    center, spread = channel_statistics(x, images, stride, pixels, ACC, IMAGES, PIXELS)
    factor = 1.0 / tl.sqrt(spread + epsilon)
    running = tl.load(mean + channel).to(ACC)
    tl.store(mean_out + channel, running * momentum + center * (1.0 - momentum))
    running = tl.load(variance + channel).to(ACC)
    tl.store(variance_out + channel, running * momentum + spread * (1.0 - momentum))
    tl.store(saved_mean + channel, center)
    tl.store(saved_factor + channel, factor)
    a = factor
    if HAS_SCALE:
        a = a * tl.load(scale + channel).to(ACC)
    c = -center * a
    if HAS_BIAS:
        c = c + tl.load(bias + channel).to(ACC)
    affine_channel(x, y, images, stride, pixels, a, c, ACC, IMAGES, PIXELS)


@triton.jit
def batch_norm_channels_fixed(
    x, scale, bias, mean, variance, y, images, channels, pixels, epsilon,
    HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr, IS_FACTOR: tl.constexpr, ACC: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Given statistics: program (block of pixels, channel, image). IS_FACTOR: `variance` holds 1 / sqrt already."""
    first = tl.program_id(0) * PIXELS
    channel = tl.program_id(1)
    factor = tl.load(variance + channel).to(ACC)
    if not IS_FACTOR:
        factor = 1.0 / tl.sqrt(factor + epsilon)
    if HAS_SCALE:
        factor = factor * tl.load(scale + channel).to(ACC)
    c = -tl.load(mean + channel).to(ACC) * factor
    if HAS_BIAS:
        c = c + tl.load(bias + channel).to(ACC)
    at = (tl.program_id(2).to(tl.int64) * channels + channel) * pixels + first
    p = tl.arange(0, PIXELS)
    mask = p < pixels - first
    v = tl.load(x + at + p, mask=mask, other=0).to(ACC) * factor + c
    tl.store(y + at + p, v.to(y.dtype.element_ty), mask=mask)


@triton.jit
def batch_norm_grad_channels(
    x, scale, mean, variance, dy, dx, dscale, dbias, images, pixels, epsilon,
    HAS_SCALE: tl.constexpr, IS_FACTOR: tl.constexpr, FIXED: tl.constexpr, WANT_X: tl.constexpr,
    WANT_SCALE: tl.constexpr, WANT_BIAS: tl.constexpr,
    ACC: tl.constexpr, IMAGES: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """One channel a program: the sums of dy and dy * (x - mean), then dx. FIXED: statistics did not depend on x."""
    channel = tl.program_id(0)
    stride = tl.num_programs(0).to(tl.int64) * pixels
    start_of = channel.to(tl.int64) * pixels
    x += start_of
    dy += start_of
    center = tl.load(mean + channel).to(ACC)
    factor = tl.load(variance + channel).to(ACC)
    if not IS_FACTOR:
        factor = 1.0 / tl.sqrt(factor + epsilon)
    p = tl.arange(0, PIXELS)
    r = tl.arange(0, IMAGES)
    inside = p < pixels
    tile = r.to(tl.int64)[:, None] * stride + p[None, :]
    sum_g = tl.full((), 0.0, ACC)
    sum_gd = tl.full((), 0.0, ACC)
    at = tl.full((), 0, tl.int64)
    if IMAGES == 1:
        for _i in range(0, images):
            for start in range(0, pixels, PIXELS):
                mask = p < pixels - start
                g = tl.load(dy + at + start + p, mask=mask, other=0).to(ACC)
                d = tl.load(x + at + start + p, mask=mask, other=0).to(ACC) - center
                sum_g += tl.sum(g, axis=0)
                sum_gd += tl.sum(g * d, axis=0)
            at += stride
    else:
        for start in range(0, images, IMAGES):
            mask = (r < images - start)[:, None] & inside[None, :]
            g = tl.load(dy + at + tile, mask=mask, other=0).to(ACC)
            d = tl.load(x + at + tile, mask=mask, other=0).to(ACC) - center
            sum_g += tl.sum(tl.sum(g, axis=1), axis=0)
            sum_gd += tl.sum(tl.sum(g * d, axis=1), axis=0)
            at += IMAGES * stride
    if WANT_SCALE:
        tl.store(dscale + channel, sum_gd * factor)
    if WANT_BIAS:
        tl.store(dbias + channel, sum_g)
    if WANT_X:
        # dx = a * (dy - sum_g / m - (x - mean) * factor^2 * sum_gd / m) = dy * a + x * k + c
        dx += start_of
        a = factor
        if HAS_SCALE:
            a = a * tl.load(scale + channel).to(ACC)
        count = (images * pixels).to(ACC)
        k = -a * factor * factor * (sum_gd / count)
        c = -a * (sum_g / count)
        at = tl.full((), 0, tl.int64)
        if IMAGES == 1:
            for _i in range(0, images):
                for start in range(0, pixels, PIXELS):
                    mask = p < pixels - start
                    v = tl.load(dy + at + start + p, mask=mask, other=0).to(ACC) * a
                    if not FIXED:
                        v += (tl.load(x + at + start + p, mask=mask, other=0).to(ACC) - center) * k + c
                    tl.store(dx + at + start + p, v.to(dx.dtype.element_ty), mask=mask)
                at += stride
        else:
            for start in range(0, images, IMAGES):
                mask = (r < images - start)[:, None] & inside[None, :]
                v = tl.load(dy + at + tile, mask=mask, other=0).to(ACC) * a
                if not FIXED:
                    v += (tl.load(x + at + tile, mask=mask, other=0).to(ACC) - center) * k + c
                tl.store(dx + at + tile, v.to(dx.dtype.element_ty), mask=mask)
                at += IMAGES * stride


# ---- batch norm, channels last: x [rows, channels] ----


@triton.jit
def column_moments(
    x, total, squares, rows, channels, chunk, ACC: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Program (channels, part): sums of x - s and (x - s)^2 over `chunk` rows, to [parts, channels]; s is the part's
    first row."""
    first_channel = tl.program_id(0) * BLOCK
    part = tl.program_id(1)
    first = part * chunk
    count = tl.minimum(rows - first, chunk)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < channels - first_channel
    x += first.to(tl.int64) * channels + first_channel
    shift = tl.load(x + offsets, mask=mask, other=0).to(ACC)
    s = tl.full((BLOCK,), 0.0, ACC)
    q = tl.full((BLOCK,), 0.0, ACC)
    at = tl.full((), 0, tl.int64)
    for _i in range(0, count):
        d = tl.load(x + at + offsets, mask=mask, other=0).to(ACC) - shift
        s += d
        q += d * d
        at += channels
    to = part.to(tl.int64) * channels + first_channel
    tl.store(total + to + offsets, s, mask=mask)
    tl.store(squares + to + offsets, q, mask=mask)


@triton.jit
def batch_norm_merge(
    x, total, squares, scale, bias, mean, variance, mean_out, variance_out, saved_mean, saved_factor, slope, offset,
    rows, channels, chunk, parts, momentum, epsilon,
    HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """From the parts of column_moments: statistics, running statistics, and y = x * slope + offset. The parts are
    merged as means and squared deviations (Chan, Golub and LeVeque 1979)."""
    first = tl.program_id(0) * BLOCK
    offsets = first + tl.arange(0, BLOCK)
    mask = offsets < channels
    center = tl.full((BLOCK,), 0.0, ACC)
    spread = tl.full((BLOCK,), 0.0, ACC)
    at = tl.full((), 0, tl.int64)
    done = tl.full((), 0, tl.int32)
    for _i in range(0, parts):
        size = tl.minimum(rows - done, chunk)
        m = size.to(ACC)
        shift = tl.load(x + done.to(tl.int64) * channels + offsets, mask=mask, other=0).to(ACC)
        s = tl.load(total + at + offsets, mask=mask, other=0) / m
        q = tl.load(squares + at + offsets, mask=mask, other=0) - s * s * m
        before = done.to(ACC)
        after = before + m
        delta = shift + s - center
        center += delta * (m / after)
        spread += tl.maximum(q, 0.0) + delta * delta * (before * m / after)
        at += channels
        done += size
    spread = spread / done.to(ACC)
    factor = 1.0 / tl.sqrt(spread + epsilon)
    running = tl.load(mean + offsets, mask=mask, other=0).to(ACC)
    tl.store(mean_out + offsets, running * momentum + center * (1.0 - momentum), mask=mask)
    running = tl.load(variance + offsets, mask=mask, other=0).to(ACC)
    tl.store(variance_out + offsets, running * momentum + spread * (1.0 - momentum), mask=mask)
    tl.store(saved_mean + offsets, center, mask=mask)
    tl.store(saved_factor + offsets, factor, mask=mask)
    a = factor
    if HAS_SCALE:
        a = a * tl.load(scale + offsets, mask=mask, other=0).to(ACC)
    c = -center * a
    if HAS_BIAS:
        c = c + tl.load(bias + offsets, mask=mask, other=0).to(ACC)
    tl.store(slope + offsets, a, mask=mask)
    tl.store(offset + offsets, c, mask=mask)


@triton.jit
def batch_norm_fixed_affine(
    scale, bias, mean, variance, slope, offset, channels, epsilon,
    HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """slope and offset of y = x * slope + offset from given statistics."""
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < channels
    a = 1.0 / tl.sqrt(tl.load(variance + offsets, mask=mask, other=1).to(ACC) + epsilon)
    if HAS_SCALE:
        a = a * tl.load(scale + offsets, mask=mask, other=0).to(ACC)
    c = -tl.load(mean + offsets, mask=mask, other=0).to(ACC) * a
    if HAS_BIAS:
        c = c + tl.load(bias + offsets, mask=mask, other=0).to(ACC)
    tl.store(slope + offsets, a, mask=mask)
    tl.store(offset + offsets, c, mask=mask)


@triton.jit
def affine_columns(x, slope, offset, y, rows, channels, chunk, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """y = x * slope + offset over [rows, channels]: program (channels, part)."""
    first_channel = tl.program_id(0) * BLOCK
    first = tl.program_id(1) * chunk
    count = tl.minimum(rows - first, chunk)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < channels - first_channel
    a = tl.load(slope + first_channel + offsets, mask=mask, other=0)
    c = tl.load(offset + first_channel + offsets, mask=mask, other=0)
    at = first.to(tl.int64) * channels + first_channel
    for _i in range(0, count):
        v = tl.load(x + at + offsets, mask=mask, other=0).to(ACC) * a + c
        tl.store(y + at + offsets, v.to(y.dtype.element_ty), mask=mask)
        at += channels


@triton.jit
def column_grad_sums(
    x, mean, dy, sum_g, sum_gd, rows, channels, chunk, ACC: tl.constexpr, BLOCK: tl.constexpr
):
    """Program (channels, part): sums of dy and dy * (x - mean) over `chunk` rows, to [parts, channels]."""
    first_channel = tl.program_id(0) * BLOCK
    part = tl.program_id(1)
    first = part * chunk
    count = tl.minimum(rows - first, chunk)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < channels - first_channel
    center = tl.load(mean + first_channel + offsets, mask=mask, other=0).to(ACC)
    s = tl.full((BLOCK,), 0.0, ACC)
    q = tl.full((BLOCK,), 0.0, ACC)
    at = first.to(tl.int64) * channels + first_channel
    for _i in range(0, count):
        g = tl.load(dy + at + offsets, mask=mask, other=0).to(ACC)
        q += g * (tl.load(x + at + offsets, mask=mask, other=0).to(ACC) - center)
        s += g
        at += channels
    to = part.to(tl.int64) * channels + first_channel
    tl.store(sum_g + to + offsets, s, mask=mask)
    tl.store(sum_gd + to + offsets, q, mask=mask)


@triton.jit
def batch_norm_grad_columns(
    x, scale, mean, variance, sum_g, sum_gd, dy, dx, dscale, dbias, rows, channels, chunk, epsilon,
    HAS_SCALE: tl.constexpr, IS_FACTOR: tl.constexpr, FIXED: tl.constexpr, WANT_X: tl.constexpr,
    WANT_SCALE: tl.constexpr, WANT_BIAS: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (channels, part): dx of `chunk` rows from the whole sums; part 0 also writes dscale and dbias."""
    first_channel = tl.program_id(0) * BLOCK
    part = tl.program_id(1)
    first = part * chunk
    count = tl.minimum(rows - first, chunk)
    offsets = tl.arange(0, BLOCK)
    mask = offsets < channels - first_channel
    center = tl.load(mean + first_channel + offsets, mask=mask, other=0).to(ACC)
    factor = tl.load(variance + first_channel + offsets, mask=mask, other=1).to(ACC)
    if not IS_FACTOR:
        factor = 1.0 / tl.sqrt(factor + epsilon)
    s = tl.load(sum_g + first_channel + offsets, mask=mask, other=0)
    q = tl.load(sum_gd + first_channel + offsets, mask=mask, other=0)
    once = offsets < tl.where(part == 0, channels - first_channel, 0)
    if WANT_SCALE:
        tl.store(dscale + first_channel + offsets, q * factor, mask=once)
    if WANT_BIAS:
        tl.store(dbias + first_channel + offsets, s, mask=once)
    if WANT_X:
        a = factor
        if HAS_SCALE:
            a = a * tl.load(scale + first_channel + offsets, mask=mask, other=0).to(ACC)
        size = rows.to(ACC)
        k = -a * factor * factor * (q / size)
        c = -a * (s / size)
        at = first.to(tl.int64) * channels + first_channel
        for _i in range(0, count):
            v = tl.load(dy + at + offsets, mask=mask, other=0).to(ACC) * a
            if not FIXED:
                v += (tl.load(x + at + offsets, mask=mask, other=0).to(ACC) - center) * k + c
            tl.store(dx + at + offsets, v.to(dx.dtype.element_ty), mask=mask)
            at += channels


# ---- group norm and instance norm, channels first: x [images, groups, channels of a group, pixels] ----


@triton.jit
def group_norm_rows(
    x, scale, bias, y, mean_out, variance_out, groups, channels, pixels, epsilon,
    HAS_SCALE: tl.constexpr, HAS_BIAS: tl.constexpr, FACTOR_OUT: tl.constexpr, ACC: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Program (image and group): statistics of `channels` planes, then the affine map of each. `variance_out` gets
    1 / sqrt(variance + epsilon) when FACTOR_OUT."""
    cell = tl.program_id(0)
    group = cell % groups
    start = cell.to(tl.int64) * channels * pixels
    x += start
    y += start
    center, spread = channel_statistics(x, channels, pixels.to(tl.int64), pixels, ACC, 1, PIXELS)
    factor = 1.0 / tl.sqrt(spread + epsilon)
    tl.store(mean_out + cell, center.to(mean_out.dtype.element_ty))
    if FACTOR_OUT:
        tl.store(variance_out + cell, factor.to(variance_out.dtype.element_ty))
    else:
        tl.store(variance_out + cell, spread.to(variance_out.dtype.element_ty))
    p = tl.arange(0, PIXELS)
    at = tl.full((), 0, tl.int64)
    for i in range(0, channels):
        a = factor
        if HAS_SCALE:
            a = a * tl.load(scale + group * channels + i).to(ACC)
        c = -center * a
        if HAS_BIAS:
            c = c + tl.load(bias + group * channels + i).to(ACC)
        for first in range(0, pixels, PIXELS):
            mask = p < pixels - first
            v = tl.load(x + at + first + p, mask=mask, other=0).to(ACC) * a + c
            tl.store(y + at + first + p, v.to(y.dtype.element_ty), mask=mask)
        at += pixels


@triton.jit
def group_norm_grad_rows(
    x, scale, mean, variance, dy, dx, dscale_parts, dbias_parts, groups, channels, pixels, epsilon,
    HAS_SCALE: tl.constexpr, IS_FACTOR: tl.constexpr, ACC: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Program (image and group): dx, and this image's part of dscale and dbias [images, groups * channels]."""
    cell = tl.program_id(0)
    group = cell % groups
    start = cell.to(tl.int64) * channels * pixels
    x += start
    dy += start
    dx += start
    center = tl.load(mean + cell).to(ACC)
    factor = tl.load(variance + cell).to(ACC)
    if not IS_FACTOR:
        factor = 1.0 / tl.sqrt(factor + epsilon)
    p = tl.arange(0, PIXELS)
    all_g = tl.full((), 0.0, ACC)
    all_gd = tl.full((), 0.0, ACC)
    at = tl.full((), 0, tl.int64)
    for i in range(0, channels):
        sum_g = tl.full((), 0.0, ACC)
        sum_gd = tl.full((), 0.0, ACC)
        for first in range(0, pixels, PIXELS):
            mask = p < pixels - first
            g = tl.load(dy + at + first + p, mask=mask, other=0).to(ACC)
            d = tl.load(x + at + first + p, mask=mask, other=0).to(ACC) - center
            sum_g += tl.sum(g, axis=0)
            sum_gd += tl.sum(g * d, axis=0)
        tl.store(dbias_parts + cell.to(tl.int64) * channels + i, sum_g)
        tl.store(dscale_parts + cell.to(tl.int64) * channels + i, sum_gd * factor)
        if HAS_SCALE:
            a = tl.load(scale + group * channels + i).to(ACC)
            all_g += sum_g * a
            all_gd += sum_gd * a
        else:
            all_g += sum_g
            all_gd += sum_gd
        at += pixels
    count = (channels * pixels).to(ACC)
    k = -factor * factor * factor * (all_gd / count)
    c = -factor * (all_g / count)
    at = tl.full((), 0, tl.int64)
    for i in range(0, channels):
        a = factor
        if HAS_SCALE:
            a = a * tl.load(scale + group * channels + i).to(ACC)
        for first in range(0, pixels, PIXELS):
            mask = p < pixels - first
            g = tl.load(dy + at + first + p, mask=mask, other=0).to(ACC)
            d = tl.load(x + at + first + p, mask=mask, other=0).to(ACC) - center
            tl.store(dx + at + first + p, (g * a + d * k + c).to(dx.dtype.element_ty), mask=mask)
        at += pixels
