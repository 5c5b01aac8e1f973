"""What this machine can do at most: copy bandwidth and f32 FMA peak, measured on all workers of a card, once per process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from openxpu.compiler.target import Target, host

_REPEATS = 8
_ROUNDS = 100_000  # of the FMA loop in each program
_PROGRAMS = 8  # for each worker, so that one that is held up does not decide
_SMALLEST_COPY, _LARGEST_COPY = 32 << 20, 256 << 20


@dataclass(frozen=True)
class Ceiling:
    """bandwidth: bytes read and written by a second of a large copy. flops: f32 FMAs of a second, two each."""

    bandwidth: float
    flops: float

    def seconds(self, nbytes: float, flops: float) -> float:
        """The least time for that much work, by the roofline model (Williams, Waterman, Patterson 2009)."""
        return max(nbytes / self.bandwidth, flops / self.flops)


@functools.cache
def ceiling() -> Ceiling:
    """Measured on the current card at the first call, in about a second, and kept. The card should be idle then.

    bandwidth: the best of eight copies between two arrays that are larger than the last-level cache (at most 256 MiB,
    and at most an eighth of the card's free memory). flops: the best of eight runs of a loop of independent f32 FMAs on
    full vectors, on all workers. Both move with what else the machine does.
    """
    return Ceiling(_bandwidth(), _peak())


def _best_seconds(work: Callable[[Any], None]) -> float:
    from openxpu.runtime import Event, current_stream

    stream = current_stream()
    best = float("inf")
    for _ in range(_REPEATS):
        begin, end = Event(), Event()
        begin.record(stream)
        work(stream.native)
        end.record(stream)
        end.synchronize()
        best = min(best, begin.elapsed_time(end) * 1e-3)
    return best


def _bandwidth() -> float:
    from openxpu import _runtime
    from openxpu.runtime import current_device, empty

    nbytes = min(max(4 * _runtime.cache_sizes()[2], _SMALLEST_COPY), _LARGEST_COPY)
    stats = current_device().memory_stats()
    nbytes = max(1 << 20, min(nbytes, (stats["limit"] - stats["used"]) // 8, stats["largest_free"] // 4))
    source, target = empty(nbytes, "u8"), empty(nbytes, "u8")

    def copy(stream: Any) -> None:
        stream.copy(target.data_ptr(), source.data_ptr(), nbytes, "d2d")

    current_device().card.current_stream.fill(source.data_ptr(), 1, nbytes)
    copy(current_device().card.current_stream)  # the pages are there from now on
    return 2 * nbytes / _best_seconds(copy)


def _peak() -> float:
    from openxpu import _runtime
    from openxpu.runtime import current_device

    target = host()
    image = _runtime.load_image(fma_loop(target))
    entry = image.symbol("openxpu_entry")
    programs = _PROGRAMS * int(_runtime.card_properties(current_device().id)["workers"])

    def multiply(stream: Any) -> None:
        stream.launch(entry, (programs, 1, 1), [0], scratch_bytes=64, name="fma peak")

    seconds = _best_seconds(multiply)
    _images.append(image)
    return programs * _ROUNDS * _chains(target) * (target.vector_bytes // 4) * 2 / seconds


_images: list[Any] = []  # code that ran stays mapped


def _chains(target: Target) -> int:
    """Independent FMAs under way: enough for two units of five cycles, few enough for the registers."""
    return 12 if target.registers < 32 else 24


def fma_loop(target: Target) -> bytes:
    """An object whose every program runs rounds of independent FMAs; contract 1 of docs/architecture.md."""
    import llvmlite.binding as llvm
    from llvmlite import ir

    from openxpu.compiler.compile import machine

    lanes = ir.VectorType(ir.FloatType(), target.vector_bytes // 4)
    word, pointer = ir.IntType(64), ir.PointerType()
    module = ir.Module("fma_peak")
    module.triple = target.triple
    kind = ir.FunctionType(ir.IntType(32), [pointer, pointer, word, word, pointer])
    function = ir.Function(module, kind, "openxpu_entry")
    fma = ir.Function(module, ir.FunctionType(lanes, [lanes] * 3), f"llvm.fma.v{lanes.count}f32")
    arguments, _, begin, end, scratch = function.args
    head, body, done = (function.append_basic_block(n) for n in ("head", "body", "done"))
    b = ir.IRBuilder(head)
    rounds = b.mul(b.sub(end, begin), ir.Constant(word, _ROUNDS))
    # Read from memory, so that nothing of the loop can be computed beforehand.
    seed = b.uitofp(b.trunc(b.load(arguments, typ=word, align=8), ir.IntType(32)), ir.FloatType())
    one = b.insert_element(ir.Constant(lanes, ir.Undefined), seed, ir.Constant(ir.IntType(32), 0))
    factor = b.shuffle_vector(
        one, one, ir.Constant(ir.VectorType(ir.IntType(32), lanes.count), [0] * lanes.count)
    )
    b.branch(body)
    b = ir.IRBuilder(body)
    turn = b.phi(word)
    turn.add_incoming(ir.Constant(word, 0), head)
    sums = [b.phi(lanes) for _ in range(_chains(target))]
    results = [b.call(fma, [total, factor, factor]) for total in sums]
    for i, (total, result) in enumerate(zip(sums, results, strict=True)):
        total.add_incoming(ir.Constant(lanes, [float(i)] * lanes.count), head)
        total.add_incoming(result, body)
    after = b.add(turn, ir.Constant(word, 1))
    turn.add_incoming(after, body)
    b.cbranch(b.icmp_unsigned("<", after, rounds), body, done)
    b = ir.IRBuilder(done)
    total = results[0]
    for other in results[1:]:
        total = b.fadd(total, other)
    b.store(total, scratch, align=64)
    b.ret(ir.Constant(ir.IntType(32), 0))
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    return bytes(machine(target).emit_object(parsed))


__all__ = ["Ceiling", "ceiling", "fma_loop"]
