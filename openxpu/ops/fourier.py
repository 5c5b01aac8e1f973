# Discrete Fourier transforms along any axes and of any length, frames of signals, short-time transforms. Planners.
"""Lengths of factors 2, 3, 5 and 7 run as passes over many sequences side by side (kernels/fourier.py); long ones, and short
batches of them, as two transforms of n1 and n2 elements with factors between (Bailey, FFTs in external or hierarchical memory,
1990); lengths with other factors as a convolution (Bluestein, 1970). Factors are tables of the plan, computed in f64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from openxpu.ops.layout import plan_copy
from openxpu.ops.plan import F64, I64, PARTS, PlanBuilder, Tensor, contiguous_strides, dtype_constexpr
from openxpu.ops.pointwise import compute_dtype, division, plan_map
from openxpu.ops.run import run

if TYPE_CHECKING:
    from openxpu.runtime import Array

_LONGEST = 4096  # elements of a sequence whose lanes still lie in a core's own cache
_PRIME = 401  # the largest radix: above it a convolution is quicker
_CONVOLUTION = 4096  # elements of a convolution that is done in one launch
_PROGRAMS = 16
_TILE = 16  # elements of a sequence that are moved together
PAIRS = {"f32": "c64", "f64": "c128"}


def factors(n: int) -> list[int] | None:
    """Radices whose product is n, none above _PRIME; None where n has other factors."""
    found = []
    for radix in (4, 7, 5, 3, 2, *range(11, min(n, _PRIME) + 1, 2)):
        while n % radix == 0:
            found.append(radix)
            n //= radix
    return found if n == 1 else None


def smooth(n: int) -> int:
    """The least length from n on that has factors 2, 3 and 5 only."""
    best = 1 << (n - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            rest = -(-n // three)
            best = min(best, three << max(rest - 1, 0).bit_length())
            three *= 3
        five *= 5
    return best


def _split(n: int) -> tuple[int, int] | None:
    """n as a product n1 * n2 with n1 >= n2 as near to each other as can be, n1 of one pass."""
    for small in range(math.isqrt(n), 1, -1):
        if n % small == 0:
            large = n // small
            return (large, small) if large <= _LONGEST else (small, large)
    return None


def _table(b: PlanBuilder, angles: np.ndarray, n: int, dtype: str) -> Tensor:
    """exp(-2 pi i a / n) of integers a, real parts first."""
    turns = np.asarray(angles % n, np.float64) * (-2 * np.pi / n)
    return b.constant(
        np.stack([np.cos(turns), np.sin(turns)]).astype(np.float32 if dtype == "f32" else np.float64)
    )


def _real(value: float, dtype: str) -> float | F64:
    return F64(value) if dtype == "f64" else float(value)


def _chirp(n: int) -> np.ndarray:
    """exp(-pi i j^2 / n)."""
    turns: np.ndarray = np.arange(n, dtype=np.int64) ** 2 % (2 * n)
    chirp: np.ndarray = np.exp(-1j * np.pi / n * turns)
    return chirp


def _chirp_spectrum(n: int, length: int) -> np.ndarray:
    """The transform of the chirp's conjugate, around element 0."""
    kernel = np.zeros(length, np.complex128)
    kernel[:n] = _chirp(n).conj()
    kernel[length - n + 1 :] = kernel[n - 1 : 0 : -1]
    return np.fft.fft(kernel)


def _launch(
    b: PlanBuilder, x: Tensor, out: Tensor, n: int, lanes: int, outer: int, steps: Sequence[int], *,
    count: int, kept: int, kind: tuple[str, str], forward: bool, scale: float, dense: tuple[bool, bool],
    twist: tuple[Tensor, int] | None = None,
) -> None:  # fmt: skip
    """One launch of fourier.transform; `steps` are its eight arguments from in_outer to out_jump."""
    dtype = PARTS.get(x.dtype, x.dtype)
    width = 8 if dtype == "f64" else 16
    span = width * (1 if kind[0] == "complex" else 2)
    blocks = -(-lanes // span)
    groups = blocks * outer
    programs = min(groups, _PROGRAMS)
    radices = factors(n)
    length = n if radices is not None else smooth(2 * n - 1)
    table = _table(b, np.arange(length), length, dtype)
    factor, chirp = (table if twist is None else twist[0]), table
    if radices is None:
        radices = factors(length)
        assert radices is not None
        assert twist is None
        numpy = np.float64 if dtype == "f64" else np.float32
        spectrum, turns = _chirp_spectrum(n, length) / length, _chirp(n)
        factor = b.constant(np.stack([spectrum.real, spectrum.imag]).astype(numpy))
        chirp = b.constant(np.stack([turns.real, turns.imag]).astype(numpy))
    order = b.constant(np.array([*radices, 0], np.int32))
    work = b.scratch((programs, 4, length, width), dtype)

    def row(tensor: Tensor, step: int, extent: int) -> tuple[Tensor, int]:
        if step != 1 or extent != 1:
            return work, 0
        words = 2 if tensor.dtype == "c128" else 1
        return b.scratch((programs, span, (_TILE + 1) * words), tensor.words.dtype), words

    (near, in_row), (away, out_row) = row(x, *steps[1:3]), row(out, *steps[5:7])
    sign = 1.0 if forward else -1.0
    turns_taken = 1 if length == n else 2
    b.launch(
        "fourier.transform", programs, x.words, out.words, work, near, away, table, order, factor, chirp,
        n, length, len(radices), count, kept, groups, blocks, programs, lanes, *steps,
        _real(sign, dtype), _real(sign, dtype), _real(scale, dtype),
        cost=groups * width * length * 8 * (turns_taken * len(radices) + 2), IN=kind[0], OUT=kind[1],
        TWIST=0 if twist is None else twist[1], CHIRP=int(length != n), IN_DENSE=dense[0], OUT_DENSE=dense[1],
        IN_ROW=in_row, OUT_ROW=out_row, TILE=_TILE, LANES=width,
    )  # fmt: skip


def _plan_passes(
    b: PlanBuilder, x: Tensor, out: Tensor, axis: int, n: int, kind: tuple[str, str], forward: bool, scale: float
) -> None:  # fmt: skip
    """A transform in one launch."""
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    count, kept = x.shape[axis], out.shape[axis]
    if inner >= 8:
        steps = (count * inner, inner, 1, 0, kept * inner, inner, 1, 0)
        lanes, dense = inner, (True, True)
    else:
        steps = (0, inner, inner, count * inner, 0, inner, inner, kept * inner)
        lanes, outer, dense = outer * inner, 1, (False, False)
    _launch(
        b, x, out, n, lanes, outer, steps, count=count, kept=kept, kind=kind, forward=forward, scale=scale, dense=dense
    )  # fmt: skip


def _plan_two_levels(
    b: PlanBuilder, x: Tensor, out: Tensor, axis: int, pair: tuple[int, int], forward: bool, scale: float
) -> None:
    """Element j1 * n2 + j2 becomes element k1 + n1 * k2: transforms along j1, factors exp(-2 pi i j2 k1 / n), transforms
    along j2."""
    n1, n2 = pair
    n = n1 * n2
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    dtype = PARTS[x.dtype]
    middle = b.scratch((outer, n1, n2, inner), x.dtype)
    twist = _table(b, np.outer(np.arange(n1), np.arange(n2)), n, dtype)
    lanes = n2 * inner
    steps = (n * inner, lanes, 1, 0, n * inner, lanes, inner, 0)
    _launch(
        b, x, middle, n1, lanes, outer, steps, count=n1, kept=n1, kind=("complex", "complex"), forward=forward,
        scale=1.0, dense=(True, True), twist=(twist, n2),
    )  # fmt: skip
    if n2 > _LONGEST:
        last = b.scratch((outer, n1, n2, inner), x.dtype)
        plan_transform(b, middle, last, 2, forward, scale)
        plan_copy(b, last.permute(0, 2, 1, 3), out.reshape(outer, n2, n1, inner))
        return
    lanes = n1 * inner
    steps = (n * inner, inner, inner, lanes // n1 * n2, n * inner, lanes, 1, 0)
    _launch(
        b, middle, out, n2, lanes, outer, steps, count=n2, kept=n2, kind=("complex", "complex"), forward=forward,
        scale=scale, dense=(n2 == 1, True),
    )  # fmt: skip


def _plan_convolution(b: PlanBuilder, x: Tensor, out: Tensor, axis: int, forward: bool, scale: float) -> None:
    """Any length n: jk = (j^2 + k^2 - (k - j)^2) / 2 turns the sum into a convolution with exp(pi i j^2 / n), done by
    transforms of a smooth length."""
    n = x.shape[axis]
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    length = smooth(2 * n - 1)
    numpy = np.complex64 if x.dtype == "c64" else np.complex128
    chirp, spectrum = _chirp(n), _chirp_spectrum(n, length)
    if not forward:
        chirp, spectrum = chirp.conj(), np.roll(spectrum[::-1], 1).conj()
    shape = (outer, length, inner)
    first, second = b.scratch(shape, x.dtype), b.scratch(shape, x.dtype)
    whole = contiguous_strides(shape)

    def factor(values: np.ndarray) -> Tensor:
        return b.constant(values.astype(numpy)[:, None])

    b.zero(first)
    plan_map(
        b,
        "elementwise.multiply",
        [x.reshape(outer, n, inner), factor(chirp)],
        first.view((outer, n, inner), whole),
    )
    plan_transform(b, first, second, 1, True, 1.0)
    plan_map(b, "elementwise.multiply", [second, factor(spectrum)], second)
    plan_transform(b, second, first, 1, False, scale / length)
    plan_map(
        b, "elementwise.multiply", [first.view((outer, n, inner), whole), factor(chirp)], out.reshape(outer, n, inner)
    )  # fmt: skip


def _convolved(n: int, sequences: int) -> bool:
    """Whether a length of other factors is a convolution in one launch."""
    return smooth(2 * n - 1) <= _CONVOLUTION and sequences >= 8


def plan_transform(b: PlanBuilder, x: Tensor, out: Tensor, axis: int, forward: bool, scale: float) -> None:
    """out[.., k, ..] = scale sum_j x[.., j, ..] exp(-+ 2 pi i j k / n) along one axis; both contiguous and complex. x may be
    shorter than out along the axis: it is continued by zeros."""
    n = out.shape[axis]
    sequences = out.numel // max(n, 1)
    if factors(n) is None and not _convolved(n, sequences):
        if x.shape[axis] < n:
            x = _continued(b, x, out.shape)
        _plan_convolution(b, x, out, axis, forward, scale)
        return
    few = n > _LONGEST or (sequences < 8 and n >= 64)
    pair = _split(n) if few and factors(n) is not None else None
    if pair is not None:
        if x.shape[axis] < n:
            x = _continued(b, x, out.shape)
        _plan_two_levels(b, x, out, axis, pair, forward, scale)
        return
    _plan_passes(b, x, out, axis, n, ("complex", "complex"), forward, scale)


def _continued(b: PlanBuilder, x: Tensor, shape: Sequence[int]) -> Tensor:
    """x followed by zeros."""
    long = b.scratch(shape, x.dtype)
    b.zero(long)
    plan_copy(b, x, long.view(x.shape, long.strides))
    return long


def _dense(b: PlanBuilder, x: Tensor) -> Tensor:
    if x.contiguous:
        return x
    out = b.scratch(x.shape, x.dtype)
    plan_copy(b, x, out)
    return out


def _scale(shape: Sequence[int], axes: Sequence[int], norm: str) -> float:
    """norm: "none", "by_sqrt_n" or "by_n" of the number of elements that are transformed together."""
    n = math.prod(shape[axis] for axis in axes)
    return {"none": 1.0, "by_sqrt_n": n**-0.5 if n else 1.0, "by_n": 1.0 / n if n else 1.0}[norm]


def _one_by_one(
    b: PlanBuilder, x: Tensor, out: Tensor, axes: Sequence[int], forward: bool, scale: float
) -> None:
    """Transforms along all axes, the last one first; x may be shorter than out along it."""
    for i, axis in enumerate(reversed(axes)):
        target = out if i == len(axes) - 1 else b.scratch(out.shape, out.dtype)
        plan_transform(b, x, target, axis, forward, scale if i == 0 else 1.0)
        x = target
    if not axes:
        plan_copy(b, x, out)


def plan_fft_c2c(
    b: PlanBuilder, x: Tensor, out: Tensor, axes: Sequence[int], norm: str, forward: bool
) -> None:
    """Complex to complex along `axes`."""
    if out.numel:
        axes = [axis % x.ndim for axis in axes]
        _one_by_one(b, _dense(b, x), out, axes, forward, _scale(out.shape, axes, norm))


def _in_one_launch(n: int, sequences: int) -> bool:
    """Whether real sequences go in pairs through the passes."""
    if factors(n) is None:
        return _convolved(n, sequences)
    return n <= _LONGEST and (sequences >= 16 or n < 64)


def _plan_halves(
    b: PlanBuilder, x: Tensor, out: Tensor, n: int, kept: int, forward: bool, scale: float
) -> None:  # fmt: skip
    """Between the spectrum of n reals and that of n / 2 pairs of them, along the last axis: `kept` elements of it; n // 2 when
    the pairs are wanted."""
    dtype, rows = PARTS[x.dtype], out.numel // kept
    table = _table(b, np.arange(n), n, dtype)
    b.launch(
        "fourier.halves", (-(-kept // 256), rows), x.words, out.words, table, n, x.numel // rows, kept,
        _real(1.0 if forward else -1.0, dtype), _real(scale, dtype), cost=4 * out.nbytes,
        BACK=int(kept == n // 2), BLOCK=256,
    )  # fmt: skip


def plan_fft_r2c(
    b: PlanBuilder, x: Tensor, out: Tensor, axes: Sequence[int], norm: str, forward: bool
) -> None:
    """Real to complex along `axes`; of the last of them out holds the first half of the spectrum, or all of it."""
    if out.numel == 0:
        return
    axes = [axis % x.ndim for axis in axes]
    last, rest = axes[-1], axes[:-1]
    x = _dense(b, x)
    n = x.shape[last]
    scale = _scale(x.shape, axes, norm)
    target = b.scratch(out.shape, out.dtype) if rest else out
    if _in_one_launch(n, x.numel // n):
        _plan_passes(b, x, target, last, n, ("real", "half"), forward, scale)
    elif n % 2 == 0 and last == x.ndim - 1:
        pairs = replace(x, dtype=out.dtype).view((x.numel // n, n // 2))
        spectrum = b.scratch(pairs.shape, out.dtype)
        plan_transform(b, pairs, spectrum, 1, True, 1.0)
        _plan_halves(b, spectrum, target, n, target.shape[last], forward, scale / 2)
    else:
        given, whole = b.scratch(x.shape, out.dtype), b.scratch(x.shape, out.dtype)
        plan_map(b, "complex.first", [x], given)
        plan_transform(b, given, whole, last, forward, scale)
        plan_copy(b, whole.view(out.shape, whole.strides), target)
    if rest:
        _one_by_one(b, target, out, rest, forward, 1.0)


def plan_fft_c2r(
    b: PlanBuilder, x: Tensor, out: Tensor, axes: Sequence[int], norm: str, forward: bool
) -> None:
    """Complex to real along `axes`: along the last of them x holds the first half of a spectrum."""
    if out.numel == 0:
        return
    axes = [axis % x.ndim for axis in axes]
    last, rest = axes[-1], axes[:-1]
    scale = _scale(out.shape, axes, norm)
    n = out.shape[last]
    shape = tuple(n // 2 + 1 if axis == last else extent for axis, extent in enumerate(x.shape))
    x = _dense(b, x)
    if x.shape[last] < shape[last]:
        x = _continued(b, x, shape)
    elif x.shape[last] > shape[last]:
        x = _dense(b, x.view(shape, x.strides))
    if rest:
        turned = b.scratch(shape, x.dtype)
        _one_by_one(b, x, turned, rest, forward, 1.0)
        x = turned
    if _in_one_launch(n, out.numel // n):
        _plan_passes(b, x, out, last, n, ("half", "both"), forward, scale)
        return
    if n % 2 == 0 and last == x.ndim - 1:
        pairs = replace(out, dtype=x.dtype).view((out.numel // n, n // 2))
        spectrum = b.scratch(pairs.shape, x.dtype)
        _plan_halves(b, x, spectrum, n, n // 2, not forward, 1.0)
        plan_transform(b, spectrum, pairs, 1, False, scale)
        return
    whole, turned = b.scratch(out.shape, x.dtype), b.scratch(out.shape, x.dtype)
    inner = math.prod(out.shape[last + 1 :])
    b.launch(
        "fourier.whole_spectrum", -(-out.numel // 1024), x.reals, whole.reals, n, shape[last], out.numel, inner,
        cost=whole.nbytes * 2, BLOCK=1024,
    )  # fmt: skip
    plan_transform(b, whole, turned, last, forward, scale)
    plan_map(b, "complex.first", [turned], out)


def plan_fft_r2c_grad(
    b: PlanBuilder, d: Tensor, dx: Tensor, axes: Sequence[int], norm: str, forward: bool
) -> None:
    """The real part of the transform back of d, which is continued by zeros."""
    if dx.numel == 0:
        return
    axes = [axis % dx.ndim for axis in axes]
    whole = b.scratch(dx.shape, d.dtype)
    _one_by_one(b, _dense(b, d), whole, axes, not forward, _scale(dx.shape, axes, norm))
    plan_map(b, "complex.first", [whole], dx)


def plan_fft_c2r_grad(
    b: PlanBuilder, d: Tensor, dx: Tensor, axes: Sequence[int], norm: str, forward: bool
) -> None:
    """The transform back of d; what stands for two elements of the spectrum counts twice."""
    if dx.numel == 0:
        return
    plan_fft_r2c(b, d, dx, axes, norm, not forward)
    axis = axes[-1] % dx.ndim
    twice = d.shape[axis] - dx.shape[axis]
    if twice > 0:
        shape = (*dx.shape[:axis], twice, *dx.shape[axis + 1 :])
        inner = dx.view(shape, dx.strides, dx.strides[axis])
        plan_map(b, "elementwise.add", [inner, inner], inner)


def _frames(x: Tensor, frame: int, hop: int, axis: int) -> Tensor:
    """The frames of x as a view, [.., frame, frames] along the last axis, [frames, frame, ..] along the first."""
    if axis in (-1, x.ndim - 1) and not (axis == 0 and x.ndim == 1):
        count = (x.shape[-1] - frame) // hop + 1
        step = x.strides[-1]
        return x.view((*x.shape[:-1], frame, count), (*x.strides[:-1], step, hop * step))
    count = (x.shape[0] - frame) // hop + 1
    step = x.strides[0]
    return x.view((count, frame, *x.shape[1:]), (hop * step, step, *x.strides[1:]))


def plan_frame(b: PlanBuilder, x: Tensor, out: Tensor, frame: int, hop: int, axis: int) -> None:
    """Overlapping frames of a signal along the first (0) or last (-1) axis."""
    plan_copy(b, _frames(x, frame, hop, axis), out)


def plan_overlap_add(b: PlanBuilder, x: Tensor, out: Tensor, hop: int, axis: int) -> None:
    """Sums frames where they overlap, [.., frame, frames] along the last axis, [frames, frame, ..] along the first; what they do
    not cover is zero."""
    if out.numel == 0:
        return
    x = _dense(b, x)
    pair = 2 if x.dtype in PARTS else 1
    last = axis in (-1, x.ndim - 1, out.ndim - 1) and not (axis == 0 and out.ndim == 1)
    if last:
        frame, frames = x.shape[-2:]
        inner, place_step, frame_step = pair, frames * pair, pair
    else:
        frames, frame = x.shape[:2]
        inner = math.prod(x.shape[2:]) * pair
        place_step, frame_step = inner, frame * inner
    length = out.shape[-1] if last else out.shape[0]
    total = out.numel * pair
    dtype = PARTS.get(x.dtype, x.dtype)
    small = total < 2**31
    by = [
        I64(number) for divisor in (length, inner, hop) for number in (division(divisor) if small else (0, 0))
    ]
    b.launch(
        "fourier.overlap_add", -(-total // 128), x.reals, out.reals, total, length, inner, frame, frames, hop,
        -(-frame // hop), frame * frames * pair, place_step, frame_step, *by,
        cost=x.nbytes * 4, SMALL=small, ACC=dtype_constexpr(compute_dtype(dtype)), BLOCK=128,
    )  # fmt: skip


def plan_frame_grad(b: PlanBuilder, d: Tensor, dx: Tensor, hop: int, axis: int) -> None:
    plan_overlap_add(b, d, dx, hop, axis)


def plan_overlap_add_grad(b: PlanBuilder, d: Tensor, dx: Tensor, hop: int, axis: int) -> None:
    last = axis in (-1, d.ndim - 1) and not (axis == 0 and d.ndim == 1)
    plan_frame(b, d, dx, dx.shape[-2] if last else dx.shape[1], hop, axis)


def _stft_norm(normalized: bool) -> str:
    return "by_sqrt_n" if normalized else "none"


def plan_stft(
    b: PlanBuilder, x: Tensor, window: Tensor, out: Tensor, length: int, hop: int, normalized: bool
) -> None:
    """The spectra [.., frequencies, frames] of frames of x [.., time] times the window."""
    frames = _frames(x, length, hop, -1)
    shaded = b.scratch(frames.shape, x.dtype)
    plan_map(b, "elementwise.multiply", [frames, window.view((length, 1), (window.strides[0], 0))], shaded)
    plan_fft_r2c(b, shaded, out, (len(frames.shape) - 2,), _stft_norm(normalized), True)


def plan_stft_grad(
    b: PlanBuilder, window: Tensor, d: Tensor, dx: Tensor, length: int, hop: int, normalized: bool
) -> None:
    shaded = b.scratch((*d.shape[:-2], length, d.shape[-1]), dx.dtype)
    plan_fft_r2c_grad(b, d, shaded, (d.ndim - 2,), _stft_norm(normalized), True)
    plan_map(b, "elementwise.multiply", [shaded, window.view((length, 1), (window.strides[0], 0))], shaded)
    plan_overlap_add(b, shaded, dx, hop, -1)


def frame(x: Array, length: int, hop: int) -> Array:
    """Frames of `length` elements, `hop` apart, along the last axis: [.., length, frames]."""
    frames = (x.shape[-1] - length) // hop + 1
    return run(plan_frame, [x], [((*x.shape[:-1], length, frames), x.dtype)], length, hop, -1)  # type: ignore[no-any-return]


def fft(x: Array, axis: int = -1) -> Array:
    """The discrete Fourier transform of complex numbers along one axis."""
    return run(plan_fft_c2c, [x], [(x.shape, x.dtype)], (axis,), "none", True)  # type: ignore[no-any-return]


def ifft(x: Array, axis: int = -1) -> Array:
    """The inverse of `fft`."""
    return run(plan_fft_c2c, [x], [(x.shape, x.dtype)], (axis,), "by_n", False)  # type: ignore[no-any-return]
