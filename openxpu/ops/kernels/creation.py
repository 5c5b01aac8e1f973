# Kernels that make tensors from nothing: fills, ranges, identity, triangles, one-hot rows.
import triton
import triton.language as tl

from openxpu.ops.kernels.elementary import power


@triton.jit
def fill(out, n, value, STREAM: tl.constexpr, BLOCK: tl.constexpr):
    """The same value everywhere. Integers come as i64, floats as f32 or f64."""
    modifier: tl.constexpr = ".cs" if STREAM else ""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    splat = tl.zeros([BLOCK], dtype=value.dtype) + value
    tl.store(
        out + start + lane, splat.to(out.dtype.element_ty), mask=lane < n - start, cache_modifier=modifier
    )


@triton.jit
def fill_from(out, source, n, BLOCK: tl.constexpr):
    """The value of a tensor of one element everywhere."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    mask = lane < n - start
    value = tl.load(source + lane * 0, mask=mask)
    tl.store(out + start + lane, value.to(out.dtype.element_ty), mask=mask)


@triton.jit
def arange(out, n, start_value, step, BLOCK: tl.constexpr):
    """start + i * step, in the type of start_value."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    index = (start + lane).to(start_value.dtype)
    value = start_value + index * step
    tl.store(out + start + lane, value.to(out.dtype.element_ty), mask=lane < n - start)


@triton.jit
def arange_from(out, n, start_tensor, step_tensor, COMPUTE: tl.constexpr, BLOCK: tl.constexpr):
    """start and step are tensors of one element."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    first = tl.load(start_tensor).to(COMPUTE)
    step = tl.load(step_tensor).to(COMPUTE)
    value = first + (start + lane).to(COMPUTE) * step
    tl.store(out + start + lane, value.to(out.dtype.element_ty), mask=lane < n - start)


@triton.jit
def linspace(out, n, first_tensor, last_tensor, BLOCK: tl.constexpr):
    """n values from first to last, both included; the upper half counts down from last, so that it is met exactly."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    first = tl.load(first_tensor).to(tl.float64)
    last = tl.load(last_tensor).to(tl.float64)
    step = (last - first) / tl.maximum(n - 1, 1).to(tl.float64)
    index = start + lane
    low = first + index.to(tl.float64) * step
    high = last - (n - 1 - index).to(tl.float64) * step
    value = tl.where((index < n // 2) | (n == 1), low, high)
    tl.store(out + start + lane, value.to(out.dtype.element_ty), mask=lane < n - start)


@triton.jit
def logspace(out, n, first_tensor, last_tensor, base_tensor, BLOCK: tl.constexpr):
    """base to the powers that linspace counts. What is given is converted to the type of the result first."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    lane = tl.arange(0, BLOCK)
    first = tl.load(first_tensor).to(out.dtype.element_ty).to(tl.float64)
    last = tl.load(last_tensor).to(out.dtype.element_ty).to(tl.float64)
    base = tl.load(base_tensor).to(out.dtype.element_ty).to(tl.float64)
    step = (last - first) / tl.maximum(n - 1, 1).to(tl.float64)
    index = start + lane
    low = first + index.to(tl.float64) * step
    high = last - (n - 1 - index).to(tl.float64) * step
    value = power(base + low * 0, tl.where((index < n // 2) | (n == 1), low, high))
    tl.store(out + start + lane, value.to(out.dtype.element_ty), mask=lane < n - start)


@triton.jit
def eye(out, rows, cols, rows_each, BLOCK: tl.constexpr):
    """1 on the diagonal, 0 elsewhere."""
    first = tl.program_id(0).to(tl.int64) * rows_each
    last = tl.minimum(first + rows_each, rows)
    lane = tl.arange(0, BLOCK)
    for row in range(first, last):
        for col in range(0, cols, BLOCK):
            value = ((lane + col) == row).to(tl.int32)
            tl.store(out + row * cols + col + lane, value.to(out.dtype.element_ty), mask=lane < cols - col)


@triton.jit
def triangle(x, out, rows, cols, diagonal, rows_each, total_rows, LOWER: tl.constexpr, BLOCK: tl.constexpr):
    """Keeps the lower (col - row <= diagonal) or upper (>=) part of each matrix, zeroes the rest."""
    first = tl.program_id(0).to(tl.int64) * rows_each
    last = tl.minimum(first + rows_each, total_rows)
    lane = tl.arange(0, BLOCK)
    for row in range(first, last):
        edge = row % rows + diagonal
        for col in range(0, cols, BLOCK):
            mask = lane < cols - col
            value = tl.load(x + row * cols + col + lane, mask=mask)
            if LOWER:
                keep = (lane + col) <= edge
            else:
                keep = (lane + col) >= edge
            tl.store(
                out + row * cols + col + lane, tl.where(keep, value, 0).to(out.dtype.element_ty), mask=mask
            )


@triton.jit
def one_hot(ids, out, rows, cols, rows_each, BLOCK: tl.constexpr):
    """A row with 1 at its id; an id outside of [0, cols) gives a row of zeros."""
    first = tl.program_id(0).to(tl.int64) * rows_each
    last = tl.minimum(first + rows_each, rows)
    lane = tl.arange(0, BLOCK)
    for row in range(first, last):
        target = tl.load(ids + row).to(tl.int64)
        for col in range(0, cols, BLOCK):
            value = ((lane + col) == target).to(tl.int32)
            tl.store(out + row * cols + col + lane, value.to(out.dtype.element_ty), mask=lane < cols - col)


@triton.jit
def diagonal_copy(x, out, n, x_start, x_step, out_start, out_step, BLOCK: tl.constexpr):
    """out[out_start + i * out_step] = x[x_start + i * x_step]."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = index < n
    tl.store(out + out_start + index * out_step, tl.load(x + x_start + index * x_step, mask=mask), mask=mask)
