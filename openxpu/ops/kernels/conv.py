# Triton kernels of convolution: matrix products whose rows are read in place from padded image planes.
"""A convolution is Y[m, p] = sum over k of A[m, k] * X[offset(k) + p]: p runs over output pixels, which are the
lanes, and k over (channel, tap). A plane holds one channel of all images side by side with the zero padding
between them, and slice after slice of volumes, so that the pixels which one tap multiplies are one contiguous run,
whatever the tap. Stride s splits a plane into s x s (x s) phases; the planner's offset table says where each (channel,
tap) starts. Hence one kernel serves every kernel size, stride and dilation, the data gradient and the transposed
convolution, two and three dimensions, and reads the weights where they are. DEEP: there is more than one slice."""

import triton
import triton.language as tl


@triton.jit
def pad_planes(
    x,
    planes,
    phases,
    phase_count,
    images,
    channels,
    depth,
    height,
    width,
    first_slice,
    first_row,
    first_column,
    left,
    slices,
    rows,
    lines,
    pitch,
    plane_size,
    x_image,
    x_channel,
    x_slice,
    x_row,
    x_column,
    STEP_D: tl.constexpr,
    STEP_H: tl.constexpr,
    STEP_W: tl.constexpr,
    DEEP: tl.constexpr,
    LEFT: tl.constexpr,
    UNIT: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
):
    """Copies one channel and phase of one of `images` images into its plane, zeros where the source has no pixel.
    Line l of a plane is row l // images % rows of slice l // images // rows of image l % images, `pitch` elements long;
    zeros follow up to `lines` lines. LEFT: each line has `left` columns of padding, so that the first
    pixel is the first lane: masks that begin inside a vector are dear."""
    plane = tl.program_id(1)
    phase = plane % phase_count
    channel = (plane // phase_count) % channels
    outer = plane // phase_count // channels
    slice_phase = tl.load(phases + 3 * phase)
    row_phase = tl.load(phases + 3 * phase + 1)
    column_phase = tl.load(phases + 3 * phase + 2)
    image = tl.program_id(2)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    line = row * images + image
    row_valid = row < slices * rows
    if DEEP:
        place = (row // rows + first_slice) * STEP_D + slice_phase
        row_valid &= (place >= 0) & (place < depth)
        source_rows = place * x_slice
        row = row % rows
    else:
        place = first_slice * STEP_D + slice_phase
        row_valid &= (place >= 0) & (place < depth)
        source_rows = place * x_slice
    row = (row + first_row) * STEP_H + row_phase
    row_valid &= (row >= 0) & (row < height)
    source = x + (outer * images + image).to(tl.int64) * x_image + channel.to(tl.int64) * x_channel
    source_rows += row * x_row
    target = planes + plane.to(tl.int64) * plane_size
    if LEFT:  # the first line's; every line writes that of the next
        if tl.program_id(0) + image == 0:
            for start in range(0, left, LANES):
                column = start + tl.arange(0, LANES)
                tl.store(target + column, tl.zeros((LANES,), planes.dtype.element_ty), mask=column < left)
        target += left
    for start in range(0, pitch, LANES):
        column = start + tl.arange(0, LANES)
        from_column = (column + first_column) * STEP_W + column_phase
        column_valid = (from_column < width) & (column < pitch - left)
        if UNIT:
            offsets = source_rows[:, None] + from_column[None, :]
        else:
            offsets = source_rows[:, None] + from_column[None, :] * x_column
        value = tl.load(source + offsets, mask=row_valid[:, None] & column_valid[None, :], other=0.0)
        tl.store(
            target + line[:, None] * pitch + column[None, :],
            value.to(planes.dtype.element_ty),
            mask=(line < lines)[:, None] & (column < pitch)[None, :],
        )


@triton.jit
def convolve_planes(
    planes,
    weights,
    y,
    plane_offsets,
    weight_offsets,
    bias,
    residual,
    m_size,
    k_size,
    p_size,
    m_tiles,
    p_tiles,
    m_step,
    p_step,
    rows_pitch,
    height,
    pitch,
    width,
    images,
    planes_outer,
    planes_group,
    weights_row,
    weights_group,
    y_group,
    y_image,
    y_channel,
    y_slice,
    y_row,
    y_column,
    first,
    second,
    TABLE: tl.constexpr,
    ALONG_M: tl.constexpr,
    LISTS: tl.constexpr,
    GROUPS: tl.constexpr,
    DEEP: tl.constexpr,
    STEP: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """One BM x BN tile of Y[m, p] = sum over k of weights[m * weights_row + column(k)] * planes[offset(k) + p];
    column(k) is k, or weight_offsets[k] when TABLE; ALONG_M: of weights[k * weights_row + m] instead. LISTS: the lanes are
    images, and each pixel (`outer`) has a range of k of its own, whose bounds follow the offsets. Lane p is column p % pitch of line p // pitch; lanes from
    `width` on are padding and are not stored, nor are lines from row `height` on of the rows_pitch rows of a slice. The tiles' order is in m_step and p_step.
    What is stored is ACTIVATION(sum + bias + residual); residual lies as y does."""
    m_start = (tl.program_id(0) // m_step) % m_tiles * BM
    p_start = (tl.program_id(0) // p_step) % p_tiles * BN
    group = tl.program_id(1) % GROUPS
    outer = (tl.program_id(1) // GROUPS).to(tl.int64)
    m = m_start + tl.arange(0, BM)
    p = p_start + tl.arange(0, BN)
    planes += outer * planes_outer + group.to(tl.int64) * planes_group
    weights += group.to(tl.int64) * weights_group
    acc = tl.zeros((BM, BN), dtype=ACC)
    if LISTS:
        k_begin = tl.load(plane_offsets + k_size + outer)
        k_size = tl.load(plane_offsets + k_size + outer + 1)
    else:
        k_begin = 0
    for k_start in range(k_begin, k_size, BK):
        k = k_start + tl.arange(0, BK)
        rows = tl.load(plane_offsets + k, mask=k < k_size, other=0)
        if TABLE:
            columns = tl.load(weight_offsets + k, mask=k < k_size, other=0)
        else:
            columns = k
        if ALONG_M:
            places = m[:, None] + (k * weights_row)[None, :]
        else:
            places = (m * weights_row)[:, None] + columns[None, :]
        a = tl.load(
            weights + places,
            mask=(m < m_size)[:, None] & (k < k_size)[None, :],
            other=0.0,
        )
        b = tl.load(
            planes + rows[:, None] + p[None, :],
            mask=(k < k_size)[:, None] & (p < p_size)[None, :],
            other=0.0,
        )
        acc = tl.dot(a, b, acc, input_precision=PRECISION, out_dtype=ACC)
    value = acc
    if BIAS:
        value += tl.load(bias + group * m_size + m, mask=m < m_size, other=0.0).to(ACC)[:, None]
    if not RESIDUAL:
        value = ACTIVATION(value, first, second).to(y.dtype.element_ty)
    place = outer * images * y_image + group.to(tl.int64) * y_group
    rows = (m.to(tl.int64) * y_channel)[:, None]
    y_rows = y + place + rows
    m_valid = (m < m_size)[:, None]
    if STEP:  # a tile's part of each line is one run of y, of neighbours or of every second column
        end = tl.minimum(p_start + BN, p_size)
        for line in range(p_start // pitch, (end - 1) // pitch + 1):
            row = line // images
            base = (line % images) * y_image - line * pitch * STEP
            inside = (p >= line * pitch) & (p < line * pitch + width)
            if DEEP:
                base += (row // rows_pitch) * y_slice
                row = row % rows_pitch
                inside &= row < height
            base += row * y_row
            lanes = (base + p * STEP)[None, :]
            if RESIDUAL:
                added = tl.load(residual + place + rows + lanes, mask=m_valid & inside[None, :], other=0.0)
                total = ACTIVATION(value + added.to(ACC), first, second).to(y.dtype.element_ty)
                tl.store(y_rows + lanes, total, mask=m_valid & inside[None, :])
            else:
                tl.store(y_rows + lanes, value, mask=m_valid & inside[None, :])
    else:
        line = p // pitch
        column = p % pitch
        row = line // images
        offsets = (line % images) * y_image + column * y_column
        inside = (p < p_size) & (column < width)
        if DEEP:
            offsets += (row // rows_pitch) * y_slice
            row = row % rows_pitch
            inside &= row < height
        offsets += row * y_row
        if RESIDUAL:
            added = tl.load(
                residual + place + rows + offsets[None, :], mask=m_valid & inside[None, :], other=0.0
            )
            value = ACTIVATION(value + added.to(ACC), first, second).to(y.dtype.element_ty)
        tl.store(y_rows + offsets[None, :], value, mask=m_valid & inside[None, :])


@triton.jit
def weight_gradient(
    planes,
    dy,
    out,
    plane_offsets,
    m_size,
    n_size,
    k_size,
    p_chunk,
    p_splits,
    outer_size,
    outer_chunk,
    planes_outer,
    planes_group,
    dy_outer,
    dy_channel,
    out_split,
    LISTS: tl.constexpr,
    GROUPS: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
):
    """One tile of dW[m, n] = sum over p of dy[m, p] * planes[offset(n) + p], m = output channel, n = (channel, tap),
    over one of the pixel ranges: out[split, group, m, n], which is the filter's layout. LISTS: p are images, and each pixel
    (`outer`) has offsets of its own, below zero where a tap reads padding."""
    group = tl.program_id(2) % GROUPS
    split = tl.program_id(2) // GROUPS
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    outer_begin = (split // p_splits) * outer_chunk
    outer_end = tl.minimum(outer_begin + outer_chunk, outer_size)
    begin = (split % p_splits) * p_chunk
    end = tl.minimum(begin + p_chunk, k_size)
    offsets = tl.load(plane_offsets + n, mask=n < n_size, other=0)
    planes += group.to(tl.int64) * planes_group
    rows = (group * m_size + m).to(tl.int64) * dy_channel
    acc = tl.zeros((BM, BN), dtype=ACC)
    for outer in range(outer_begin, outer_end):
        image = planes + outer.to(tl.int64) * planes_outer
        gradient = dy + outer.to(tl.int64) * dy_outer
        for p_start in range(begin, end, BK):
            p = p_start + tl.arange(0, BK)
            a = tl.load(
                gradient + rows[:, None] + p[None, :],
                mask=(m < m_size)[:, None] & (p < end)[None, :],
                other=0.0,
            )
            if LISTS:
                place = tl.load(plane_offsets + outer * n_size + n, mask=n < n_size, other=-1)
                inside = place >= 0
            else:
                place = offsets
                inside = n < n_size
            b = tl.load(
                image + place[None, :] + p[:, None],
                mask=(p < end)[:, None] & inside[None, :],
                other=0.0,
            )
            acc = tl.dot(a, b, acc, input_precision=PRECISION, out_dtype=ACC)
    target = out + split.to(tl.int64) * out_split + group.to(tl.int64) * m_size * n_size
    tl.store(
        target + (m * n_size)[:, None] + n[None, :],
        acc.to(out.dtype.element_ty),
        mask=(m < m_size)[:, None] & (n < n_size)[None, :],
    )


@triton.jit
def sum_partial_weights(partial, out, size, splits, BLOCK: tl.constexpr):
    """out = sum over splits of partial[split, :], in the order of the splits."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.load(partial + i, mask=i < size, other=0.0)
    for split in range(1, splits):
        total += tl.load(partial + split.to(tl.int64) * size + i, mask=i < size, other=0.0)
    tl.store(out + i, total.to(out.dtype.element_ty), mask=i < size)


@triton.jit
def depthwise(
    x,
    weights,
    y,
    bias,
    residual,
    multiple,
    out_channels,
    height,
    width,
    out_height,
    out_width,
    first_row,
    first_column,
    weight_channel,
    weight_row,
    weight_column,
    x_image,
    x_channel,
    x_row,
    x_column,
    y_image,
    y_channel,
    y_row,
    y_column,
    first,
    second,
    KH: tl.constexpr,
    KW: tl.constexpr,
    STEP_H: tl.constexpr,
    STEP_W: tl.constexpr,
    DILATION_H: tl.constexpr,
    DILATION_W: tl.constexpr,
    UNIT: tl.constexpr,
    Y_STEP: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ACC: tl.constexpr,
    LOWEST: tl.constexpr,
    REACH: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
):
    """One channel of one image: y[row, column] = sum over taps (i, j) of weights[i, j] * x[row * STEP_H + first_row
    + i * DILATION_H, column * STEP_W + first_column + j * DILATION_W], zero outside x. ROWS lines at a time share what they
    read. A line outside x is one of no columns; columns are compared without signs, which is one mask for both edges.
    The lines that ROWS lines of y read are REACH, the first at LOWEST."""
    channel = tl.program_id(0) % out_channels
    image = (tl.program_id(0) // out_channels).to(tl.int64)
    x += image * x_image + (channel // multiple).to(tl.int64) * x_channel
    plane = image * y_image + channel.to(tl.int64) * y_channel
    start_sum = tl.load(bias + channel).to(ACC) if BIAS else 0.0
    x += first_row * x_row + first_column * x_column
    weights += channel * weight_channel
    taps = ()
    for tap in tl.static_range(KH * KW):
        taps = taps + (tl.load(weights + tap // KW * weight_row + tap % KW * weight_column).to(ACC),)  # noqa: RUF005
    for row in range(0, out_height, ROWS):
        for start in range(0, out_width, LANES):
            column = start + tl.arange(0, LANES)
            sums = ()
            for _ in tl.static_range(ROWS):
                sums = sums + (tl.zeros((LANES,), dtype=ACC) + start_sum,)  # noqa: RUF005
            for reach in tl.static_range(REACH):  # line by line, so that few loads are alive at a time
                line = row * STEP_H + (LOWEST + reach)
                end = tl.where((line + first_row).to(tl.uint32) < height.to(tl.uint32), width, 0).to(
                    tl.uint32
                )
                for j in tl.static_range(KW):
                    at = column * STEP_W + j * DILATION_W
                    place = at if UNIT else at * x_column
                    inside = (at + first_column).to(tl.uint32) < end
                    value = tl.load(x + line * x_row + place, mask=inside, other=0.0).to(ACC)
                    more = ()
                    for r in tl.static_range(ROWS):
                        total = sums[r]
                        for i in tl.static_range(KH):
                            if r * STEP_H + i * DILATION_H == LOWEST + reach:
                                total += taps[i * KW + j] * value
                        more = more + (total,)  # noqa: RUF005
                    sums = more
            for r in tl.static_range(ROWS):
                place = column * Y_STEP if Y_STEP else column * y_column
                end = tl.where(row + r < out_height, out_width, 0).to(tl.uint32)
                inside = column.to(tl.uint32) < end
                place += plane + (row + r) * y_row
                total = sums[r]
                if RESIDUAL:
                    total += tl.load(residual + place, mask=inside, other=0.0).to(ACC)
                tl.store(y + place, ACTIVATION(total, first, second).to(y.dtype.element_ty), mask=inside)


@triton.jit
def depthwise_weight_gradient(
    x,
    dy,
    dw,
    multiple,
    images,
    height,
    width,
    out_height,
    out_width,
    first_row,
    first_column,
    x_image,
    x_channel,
    x_row,
    x_column,
    dy_image,
    dy_channel,
    dy_row,
    dy_column,
    KH: tl.constexpr,
    KW: tl.constexpr,
    STEP_H: tl.constexpr,
    STEP_W: tl.constexpr,
    DILATION_H: tl.constexpr,
    DILATION_W: tl.constexpr,
    UNIT: tl.constexpr,
    ACC: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
):
    """dw[channel, i, j] = sum over images and pixels of dy * what tap (i, j) of `depthwise` reads, ROWS lines of dy at a time
    and then one by one: a product with a zero that stands for no pixel would not be zero for an infinite x."""
    channel = tl.program_id(0)
    x += (channel // multiple).to(tl.int64) * x_channel + first_row * x_row + first_column * x_column
    dy += channel.to(tl.int64) * dy_channel
    sums = ()
    for _ in tl.static_range(KH * KW):
        sums = sums + (tl.zeros((LANES,), dtype=ACC),)  # noqa: RUF005
    for image in range(images):
        source = x + image.to(tl.int64) * x_image
        gradient = dy + image.to(tl.int64) * dy_image
        whole = out_height // ROWS * ROWS
        for row in range(0, whole, ROWS):
            for start in range(0, out_width, LANES):
                sums = depthwise_products(
                    source, gradient, sums, row, start, height, width, out_width, first_row, first_column, x_row, x_column,
                    dy_row, dy_column, KH, KW, STEP_H, STEP_W, DILATION_H, DILATION_W, UNIT, ROWS, LANES,
                )  # fmt: skip
        for row in range(whole, out_height):
            for start in range(0, out_width, LANES):
                sums = depthwise_products(
                    source, gradient, sums, row, start, height, width, out_width, first_row, first_column, x_row, x_column,
                    dy_row, dy_column, KH, KW, STEP_H, STEP_W, DILATION_H, DILATION_W, UNIT, 1, LANES,
                )  # fmt: skip
    for tap in tl.static_range(KH * KW):
        tl.store(dw + channel * (KH * KW) + tap, tl.sum(sums[tap], axis=0).to(dw.dtype.element_ty))


@triton.jit
def depthwise_products(
    x, dy, sums, row, start, height, width, out_width, first_row, first_column, x_row, x_column, dy_row, dy_column,
    KH: tl.constexpr, KW: tl.constexpr, STEP_H: tl.constexpr, STEP_W: tl.constexpr, DILATION_H: tl.constexpr,
    DILATION_W: tl.constexpr, UNIT: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """`sums` of all taps and lanes, and the products of LANES columns of ROWS lines of dy."""
    column = start + tl.arange(0, LANES)
    place = column if UNIT else column * dy_column
    lines = ()
    for r in tl.static_range(ROWS):
        line = tl.load(dy + (row + r) * dy_row + place, mask=column < out_width, other=0.0)
        lines = lines + (line.to(sums[0].dtype),)  # noqa: RUF005
    seen = tl.where(column < out_width, column, -(1 << 24))
    for reach in tl.static_range((ROWS - 1) * STEP_H + (KH - 1) * DILATION_H + 1):
        line = row * STEP_H + reach
        end = tl.where((line + first_row).to(tl.uint32) < height.to(tl.uint32), width, 0).to(tl.uint32)
        for j in tl.static_range(KW):
            at = column * STEP_W + j * DILATION_W
            place = at if UNIT else at * x_column
            inside = (seen * STEP_W + (j * DILATION_W + first_column)).to(tl.uint32) < end
            value = tl.load(x + line * x_row + place, mask=inside, other=0.0).to(sums[0].dtype)
            more = ()
            for tap in tl.static_range(KH * KW):
                total = sums[tap]
                for r in tl.static_range(ROWS):
                    if tap % KW == j and r * STEP_H + tap // KW * DILATION_H == reach:
                        total += lines[r] * value
                more = more + (total,)  # noqa: RUF005
            sums = more
    return sums


@triton.jit
def widen(x, out, size, BLOCK: tl.constexpr):
    """out = x in out's dtype; the 16-bit filters are multiplied in f32."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < size, other=0.0).to(out.dtype.element_ty), mask=i < size)


@triton.jit
def order_filter(w, out, order, channels, out_channels, taps, BLOCK: tl.constexpr):
    """out[group, t, output channel, channel] = w[group, output channel, channel, order[t]]: the data gradient's filter, whose
    pairs of k are then rows that can be interleaved."""
    t = tl.program_id(1)
    row = tl.program_id(2)  # group and output channel
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(w + (row * channels + c) * taps + tl.load(order + t), mask=c < channels, other=0.0)
    target = (row // out_channels * taps + t) * out_channels + row % out_channels
    tl.store(out + target * channels + c, value, mask=c < channels)
