"""The kernels that networks are made of, on card arrays without Paddle, beside torch's CPU operators; one and two threads.

Outputs are preallocated where torch has an `out` form; elsewhere its allocator reuses the memory of the call before.
`python -m benchmarks.kernels --only softmax,matmul` takes a part."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import peers

ROUND = 4e-3  # seconds of work in a round, at least
Call = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One kernel at one size: who computes it, the least ratio torch / ours to reach, and the work for the ceiling."""

    title: str
    group: str
    function: str
    options: dict[str, Any]
    goal: float
    bytes: float = 0
    flops: float = 0

    @property
    def repeat(self) -> int:
        """Calls in one sample, from a rough guess of what a call takes."""
        return max(1, round(ROUND / (self.bytes / 20e9 + self.flops / 1.5e11 + 1e-5)))


# ---- both peers' arrays ----------------------------------------------------------------------------


class Ours:
    """Arrays on a card, and planners replayed on them."""

    def __init__(self) -> None:
        import openxpu
        from openxpu.ops.run import run

        self.openxpu, self.run = openxpu, run

    def array(self, values: np.ndarray, dtype: str | None = None) -> Any:
        array = self.openxpu.from_numpy(values)
        if dtype in (None, array.dtype):
            return array
        from openxpu.ops.creation import cast

        return cast(array, dtype)

    def empty(self, shape: tuple[int, ...], dtype: str = "f32") -> Any:
        return self.openxpu.zeros(shape, dtype)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def torch_module() -> Any:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.set_grad_enabled(False)
    return torch


def work(peer: str, function: str, repeat: int, **options: Any) -> Call:
    """What a peer's process times: `repeat` calls and the wait for the last."""
    call: Call = globals()[function](peer == peers.OURS, **options)
    if peer == peers.OURS:
        import openxpu

        def ours() -> None:
            for _ in range(repeat):
                call()
            openxpu.synchronize()

        return ours

    def others() -> None:
        for _ in range(repeat):
            call()

    return others


# ---- element by element ----------------------------------------------------------------------------


def elementwise(ours: bool, name: str, n: int) -> Call:
    x, y = normal(n), normal(n, seed=1)
    if ours:
        import triton

        import openxpu.triton
        from benchmarks import elementwise_kernels

        openxpu.triton.register()
        o = Ours()
        a, b, out = o.array(x), o.array(y), o.empty((n,))
        kernel = getattr(elementwise_kernels, name)
        block = 4096
        grid = (triton.cdiv(n, block),)
        modifier = ".cs" if out.nbytes > 1 << 24 else ""  # past the cache, which has not room for it
        return lambda: kernel[grid](a, b, out, n, BLOCK=block, MODIFIER=modifier)
    torch = torch_module()
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    out, part = torch.empty(n), torch.empty(n)
    if name == "add_gelu":

        def add_gelu() -> None:
            torch.add(a, b, out=part)
            torch.ops.aten.gelu.out(part, out=out)

        return add_gelu
    if name == "silu_and_mul":

        def silu_and_mul() -> None:
            torch.ops.aten.silu.out(a, out=part)
            torch.mul(part, b, out=out)

        return silu_and_mul

    def chain() -> None:
        torch.mul(a, b, out=part)
        torch.add(part, a, out=part)
        torch.tanh(part, out=part)
        torch.mul(part, 0.5, out=part)
        torch.sub(part, b, out=out)

    return chain


def copy(ours: bool, n: int) -> Call:
    x = normal(n)
    if ours:
        o = Ours()
        a, out = o.array(x), o.empty((n,))
        from openxpu.ops.creation import plan_assign

        return lambda: o.run(plan_assign, [a], [out])
    torch = torch_module()
    a, out = torch.from_numpy(x), torch.zeros(n)
    return lambda: out.copy_(a)


# ---- along rows ------------------------------------------------------------------------------------


def softmax(ours: bool, rows: int, n: int, gradient: bool) -> Call:
    x, d = normal(rows, n), normal(rows, n, seed=1)
    if ours:
        from openxpu.ops.softmax import plan_softmax, plan_softmax_grad

        o = Ours()
        a, dy, out = o.array(x), o.array(d), o.empty(x.shape)
        if gradient:
            return lambda: o.run(plan_softmax_grad, [a, dy], [out], -1)
        return lambda: o.run(plan_softmax, [a], [out], -1)
    torch = torch_module()
    a, dy, out = torch.from_numpy(x), torch.from_numpy(d), torch.zeros(rows, n)
    if gradient:
        return lambda: torch.ops.aten._softmax_backward_data.out(dy, a, -1, torch.float32, grad_input=out)
    return lambda: torch.softmax(a, -1, out=out)


def layer_norm(ours: bool, rows: int, n: int, gradient: bool) -> Call:
    x, d, w, c = normal(rows, n), normal(rows, n, seed=1), normal(n, seed=2), normal(n, seed=3)
    mean, variance = x.mean(1), x.var(1)
    if ours:
        from openxpu.ops.norm import plan_layer_norm, plan_layer_norm_grad

        o = Ours()
        a, dy, s, b, out = o.array(x), o.array(d), o.array(w), o.array(c), o.empty(x.shape)
        m, v = o.array(mean), o.array(variance)
        if gradient:
            ds, db = o.empty((n,)), o.empty((n,))
            return lambda: o.run(plan_layer_norm_grad, [a, s, m, v, dy], [out, ds, db], 1e-5, 1)
        return lambda: o.run(plan_layer_norm, [a, s, b], [out, m, v], 1e-5, 1)
    torch = torch_module()
    a, dy, s, b = (torch.from_numpy(t) for t in (x, d, w, c))
    m = torch.from_numpy(mean)[:, None]
    r = torch.rsqrt(torch.from_numpy(variance) + 1e-5)[:, None]
    out = torch.zeros(rows, n)
    if gradient:
        ds, db = torch.zeros(n), torch.zeros(n)
        function = torch.ops.aten.native_layer_norm_backward.out
        mask = [True, True, True]
        return lambda: function(dy, a, [n], m, r, s, b, mask, out0=out, out1=ds, out2=db)
    function = torch.ops.aten.native_layer_norm.out
    return lambda: function(a, [n], s, b, 1e-5, out0=out, out1=m, out2=r)


def rms_norm(ours: bool, rows: int, n: int, gradient: bool) -> Call:
    x, d, w = normal(rows, n), normal(rows, n, seed=1), normal(n, seed=2)
    if ours:
        from openxpu.ops.norm import plan_rms_norm, plan_rms_norm_grad

        o = Ours()
        a, dy, s, out = o.array(x), o.array(d), o.array(w), o.empty(x.shape)
        factor = o.empty((rows,))
        o.run(plan_rms_norm, [a, s], [out, factor], 1e-6, 1)
        if gradient:
            ds = o.empty((n,))
            return lambda: o.run(plan_rms_norm_grad, [a, s, factor, dy], [out, ds], 1)
        return lambda: o.run(plan_rms_norm, [a, s], [out, factor], 1e-6, 1)
    torch = torch_module()
    a, dy, s = (torch.from_numpy(t) for t in (x, d, w))
    if gradient:
        a.requires_grad_(True)
        s.requires_grad_(True)
        with torch.enable_grad():
            y = torch.nn.functional.rms_norm(a, [n], s, 1e-6)
        return lambda: torch.autograd.grad(y, (a, s), dy, retain_graph=True)
    return lambda: torch.nn.functional.rms_norm(a, [n], s, 1e-6)


def reduction(ours: bool, name: str, shape: tuple[int, ...], axis: int | None) -> Call:
    x = normal(*shape)
    axes = list(range(len(shape))) if axis is None else [axis]
    kept = tuple(n for d, n in enumerate(shape) if d not in axes)
    if ours:
        from openxpu.ops import reduce, search

        o = Ours()
        a = o.array(x)
        if name == "argmax":
            out = o.empty(kept, "i64")
            return lambda: o.run(search.plan_arg_best, [a], [out], axis, True)
        out = o.empty(kept)
        plan = getattr(reduce, "plan_" + name)
        return lambda: o.run(plan, [a], [out], tuple(axes))
    torch = torch_module()
    a = torch.from_numpy(x)
    out = torch.zeros(kept, dtype=torch.int64 if name == "argmax" else torch.float32)
    if name == "argmax":
        return lambda: torch.argmax(a, axis, out=out)
    function = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}[name]
    return lambda: function(a, axes, out=out)


# ---- elements moved --------------------------------------------------------------------------------


def transpose(ours: bool, rows: int, n: int) -> Call:
    x = normal(rows, n)
    if ours:
        from openxpu.ops.layout import plan_transpose

        o = Ours()
        a, out = o.array(x), o.empty((n, rows))
        return lambda: o.run(plan_transpose, [a], [out], (1, 0))
    torch = torch_module()
    a, out = torch.from_numpy(x).t(), torch.zeros(n, rows)
    return lambda: out.copy_(a)


def concat(ours: bool, rows: int, widths: tuple[int, ...], axis: int) -> Call:
    xs = [normal(rows, n) if axis else normal(n, rows) for n in widths]
    shape = np.concatenate(xs, axis).shape
    if ours:
        from openxpu.ops.layout import plan_concat

        o = Ours()
        arrays, out = [o.array(x) for x in xs], o.empty(shape)
        return lambda: o.run(plan_concat, [arrays], [out], axis)
    torch = torch_module()
    tensors, out = [torch.from_numpy(x) for x in xs], torch.zeros(shape)
    return lambda: torch.cat(tensors, axis, out=out)


def embedding(ours: bool, entries: int, width: int, count: int) -> Call:
    table, ids = normal(entries, width), np.random.default_rng(1).integers(0, entries, count)
    if ours:
        from openxpu.ops.embedding import plan_embedding

        o = Ours()
        w, i, out = o.array(table), o.array(ids), o.empty((count, width))
        return lambda: o.run(plan_embedding, [i, w], [out], -1)
    torch = torch_module()
    w, i, out = torch.from_numpy(table), torch.from_numpy(ids), torch.zeros(count, width)
    return lambda: torch.index_select(w, 0, i, out=out)


def scatter_add(ours: bool, entries: int, width: int, count: int) -> Call:
    table, ids = normal(entries, width), np.random.default_rng(1).integers(0, entries, count)
    updates = normal(count, width, seed=2)
    if ours:
        from openxpu.ops.layout import plan_scatter_nd_add

        o = Ours()
        w, i, u = o.array(table), o.array(ids[:, None]), o.array(updates)
        return lambda: o.run(plan_scatter_nd_add, [w, i, u], [w])
    torch = torch_module()
    w, i, u = torch.from_numpy(table), torch.from_numpy(ids), torch.from_numpy(updates)
    return lambda: w.index_add_(0, i, u)


def cumsum(ours: bool, rows: int, n: int) -> Call:
    x = normal(rows, n)
    if ours:
        from openxpu.ops.layout import plan_cumsum

        o = Ours()
        a, out = o.array(x), o.empty(x.shape)
        return lambda: o.run(plan_cumsum, [a], [out], -1)
    torch = torch_module()
    a, out = torch.from_numpy(x), torch.zeros(rows, n)
    return lambda: torch.cumsum(a, -1, out=out)


def topk(ours: bool, n: int, k: int) -> Call:
    x = normal(n)
    if ours:
        from openxpu.ops.search import plan_topk

        o = Ours()
        a, values, indices = o.array(x), o.empty((k,)), o.empty((k,), "i64")
        return lambda: o.run(plan_topk, [a], [values, indices], k, -1, True)
    torch = torch_module()
    a = torch.from_numpy(x)
    values, indices = torch.zeros(k), torch.zeros(k, dtype=torch.int64)
    return lambda: torch.topk(a, k, out=(values, indices))


def sort(ours: bool, rows: int, n: int) -> Call:
    x = normal(rows, n)
    if ours:
        from openxpu.ops.sort import plan_argsort

        o = Ours()
        a, values, indices = o.array(x), o.empty(x.shape), o.empty(x.shape, "i64")
        return lambda: o.run(plan_argsort, [a], [values, indices], -1, False)
    torch = torch_module()
    a = torch.from_numpy(x)
    values, indices = torch.zeros(rows, n), torch.zeros(rows, n, dtype=torch.int64)
    return lambda: torch.sort(a, out=(values, indices))


# ---- products --------------------------------------------------------------------------------------


def matmul(ours: bool, m: int, n: int, k: int, dtype: str, tx: bool = False, ty: bool = False) -> Call:
    x = normal(*((k, m) if tx else (m, k)))
    y = normal(*((n, k) if ty else (k, n)), seed=1)
    if dtype == "i8":
        x, y = (np.clip(t * 40, -127, 127).astype(np.int8) for t in (x, y))
    if ours:
        from openxpu.ops.matmul import plan_matmul, plan_product_as

        o = Ours()
        a, b = (o.array(t, dtype) for t in (x, y))
        if dtype == "i8":
            out = o.empty((m, n), "i32")
            return lambda: o.run(plan_product_as, [a, b], [out], "i32")
        out = o.empty((m, n), dtype)
        return lambda: o.run(plan_matmul, [a, b], [out], tx, ty)
    torch = torch_module()
    kind = {"f32": torch.float32, "bf16": torch.bfloat16, "i8": torch.int8}[dtype]
    a, b = (torch.from_numpy(t).to(kind) for t in (x, y))
    a, b = (a.t() if tx else a), (b.t() if ty else b)
    if dtype == "i8":
        out = torch.zeros(m, n, dtype=torch.int32)
        return lambda: torch._int_mm(a, b, out=out)
    out = torch.zeros(m, n, dtype=kind)
    return lambda: torch.mm(a, b, out=out)


def batched(ours: bool, batch: int, m: int, n: int, k: int, ty: bool) -> Call:
    x, y = normal(batch, m, k), normal(*((batch, n, k) if ty else (batch, k, n)), seed=1)
    if ours:
        from openxpu.ops.matmul import plan_matmul

        o = Ours()
        a, b, out = o.array(x), o.array(y), o.empty((batch, m, n))
        return lambda: o.run(plan_matmul, [a, b], [out], False, ty)
    torch = torch_module()
    a, b, out = torch.from_numpy(x), torch.from_numpy(y), torch.zeros(batch, m, n)
    b = b.transpose(1, 2) if ty else b
    return lambda: torch.bmm(a, b, out=out)


def attention(ours: bool, heads: int, n: int, depth: int, dtype: str, causal: bool, gradient: bool) -> Call:
    q, k, v, d = (normal(1, n, heads, depth, seed=i) for i in range(4))
    if ours:
        from openxpu.ops.attention import plan_flash_attention, plan_flash_attention_grad

        o = Ours()
        x, y, z, g = (o.array(t, dtype) for t in (q, k, v, d))
        out, lse = o.empty(q.shape, dtype), o.empty((1, heads, n))
        scale = depth**-0.5
        o.run(plan_flash_attention, [x, y, z], [out, lse], scale, causal)
        if not gradient:
            return lambda: o.run(plan_flash_attention, [x, y, z], [out, lse], scale, causal)
        grads = [o.empty(q.shape, dtype) for _ in range(3)]
        return lambda: o.run(plan_flash_attention_grad, [x, y, z, out, lse, g], grads, scale, causal)
    torch = torch_module()
    kind = {"f32": torch.float32, "bf16": torch.bfloat16}[dtype]
    x, y, z, g = (torch.from_numpy(t).to(kind).transpose(1, 2).contiguous() for t in (q, k, v, d))
    forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    if not gradient:
        return lambda: forward(x, y, z, 0.0, causal)
    out, lse = forward(x, y, z, 0.0, causal)
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    return lambda: backward(g, x, y, z, out, lse, 0.0, causal)


# ---- the table -------------------------------------------------------------------------------------

ROWS = ((64, 1000), (8000, 1024), (2000, 4096))


def cases() -> Iterator[Case]:
    for n, short in ((1 << 16, "64 k"), (1 << 24, "16 M")):
        for name in ("add_gelu", "silu_and_mul", "chain"):
            title = f"{name.replace('_', ' ')}, {short} elements"
            yield Case(title, "elementwise", "elementwise", {"name": name, "n": n}, 1.2, 12 * n)
    yield Case("copy, 16 M elements", "elementwise", "copy", {"n": 1 << 24}, 0.9, 8 << 24)
    for name, passes in (("softmax", 2), ("layer_norm", 2), ("rms_norm", 2)):
        for rows, n in ROWS:
            for gradient in (False, True):
                title = f"{name.replace('_', ' ')} {'backward' if gradient else 'forward'}, {rows} x {n}"
                options = {"rows": rows, "n": n, "gradient": gradient}
                yield Case(title, name, name, options, 1.0, 4 * rows * n * (passes + gradient))
    for name in ("sum", "max", "mean", "argmax"):
        for axis, where in ((0, "first axis"), (1, "last axis"), (None, "all")):
            for shape in ((1000, 256), (4096, 4096)):
                options = {"name": name, "shape": shape, "axis": axis}
                title = f"{name} over {where}, {shape[0]} x {shape[1]}"
                yield Case(title, "reduction", "reduction", options, 1.0, 4 * math.prod(shape))
    for n in (1000, 4096):
        yield Case(f"transpose {n} x {n}", "move", "transpose", {"rows": n, "n": n}, 1.0, 8 * n * n)
    for axis in (0, 1):
        options = {"rows": 4096, "widths": (512, 768, 256), "axis": axis}
        yield Case(f"concat of three along {axis}", "move", "concat", options, 1.0, 8 * 4096 * 1536)
    table = {"entries": 30000, "width": 768, "count": 4096}
    yield Case("embedding 30000 x 768, 4096 rows", "move", "embedding", table, 1.0, 8 * 4096 * 768)
    yield Case("scatter-add 30000 x 768, 4096 rows", "move", "scatter_add", table, 1.0, 12 * 4096 * 768)
    yield Case("cumsum 1 x 65536", "order", "cumsum", {"rows": 1, "n": 65536}, 1.0, 8 * 65536)
    yield Case("cumsum 1024 x 1024", "order", "cumsum", {"rows": 1024, "n": 1024}, 1.0, 8 << 20)
    yield Case("topk 64 of 65536", "order", "topk", {"n": 65536, "k": 64}, 1.0, 4 * 65536)
    for rows, n, title in ((1, 65536, "sort 65536"), (1000, 1000, "sort 1000 x 1000")):
        yield Case(title, "order", "sort", {"rows": rows, "n": n}, 1.0, 16 * rows * n)
    for dtype, goal in (("f32", 1.0), ("bf16", 0.95), ("i8", 0.95)):
        for n in (256, 512, 1024, 2048, 777, 1000):
            odd = 0.95 if n in (777, 1000) else goal
            options = {"m": n, "n": n, "k": n, "dtype": dtype}
            speed = 1 if dtype == "f32" else 2
            yield Case(f"matmul {dtype} {n}", "matmul", "matmul", options, odd, 0, 2 * n**3 / speed)
    for tx, ty in ((True, False), (False, True)):
        options = {"m": 1024, "n": 1024, "k": 1024, "dtype": "f32", "tx": tx, "ty": ty}
        which = "A" if tx else "B"
        yield Case(f"matmul f32 1024, {which} transposed", "matmul", "matmul", options, 1.0, 0, 2 << 30)
    for ty, m, n, k, what in ((True, 128, 128, 64, "QK'"), (False, 128, 64, 128, "PV")):
        options = {"batch": 96, "m": m, "n": n, "k": k, "ty": ty}
        yield Case(
            f"batched {what} 96 x 128 x 128 x 64", "batched", "batched", options, 1.05, 0, 2 * 96 * m * n * k
        )
    for n in (128, 1024, 4096):
        for dtype in ("f32", "bf16"):
            for causal in (False, True):
                for gradient in (False, True):
                    options = {
                        "heads": 8,
                        "n": n,
                        "depth": 64,
                        "dtype": dtype,
                        "causal": causal,
                        "gradient": gradient,
                    }
                    way = f"attention {'backward' if gradient else 'forward'}"
                    title = f"{way}, 8 heads, {n} x 64 {dtype}{', causal' if causal else ''}"
                    flops = (
                        (10 if gradient else 4) * 8 * n * n * 64 / (1 + causal) / (1 if dtype == "f32" else 2)
                    )
                    yield Case(title, "attention", "attention", options, 1.0 if gradient else 1.2, 0, flops)


def measure(
    chosen: list[str], quick: bool, only: set[str] | None = None, threads: tuple[int, ...] = (1, 2)
) -> dict[str, list[peers.Row]]:
    """{"kernel, n threads": rows}; `only` names groups. Times are those of one call."""
    from rich.progress import track

    names = [name for name in chosen if name in (peers.OURS, "torch")]
    works: dict[str, list[peers.Row]] = {}
    for count in threads:
        here = {
            n: peers.Process(peers.PEERS[n], count, reuse=True)
            for n in names
            if peers.PEERS[n].missing is None
        }
        notes = {n: why for n in names if (why := peers.PEERS[n].missing) is not None}
        try:
            wanted = [case for case in cases() if not only or case.group in only]
            for case in track(wanted, f"{count} thread{'s' * (count > 1)}", transient=True):
                options = {"function": case.function, "repeat": case.repeat, **case.options}
                rounds = 2 if quick else 7
                rows = peers.in_turn(here, names, "benchmarks.kernels:work", options, rounds, 2, notes=notes)
                for row in rows:
                    if row.milliseconds is not None and row.fastest is not None:
                        row.milliseconds, row.fastest = (
                            row.milliseconds / case.repeat,
                            row.fastest / case.repeat,
                        )
                works[f"{case.title}, {count} thread{'s' * (count > 1)}"] = rows
        finally:
            for process in here.values():
                process.close()
    return works


def goals() -> dict[str, float]:
    """The least ratio torch / ours by title."""
    return {f"{c.title}, {t} thread{'s' * (t > 1)}": c.goal for c in cases() for t in (1, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--quick", action="store_true", help="two rounds: does everything run?")
    parser.add_argument("--only", default="", help="groups, separated by commas")
    parser.add_argument("--threads", default="1,2", help="thread counts, separated by commas")
    given = parser.parse_args()
    only = set(filter(None, given.only.split(",")))
    if unknown := only - {case.group for case in cases()}:
        known = sorted({case.group for case in cases()})
        parser.error(f"no group is called {', '.join(sorted(unknown))}; the groups are {', '.join(known)}.")
    threads = tuple(map(int, given.threads.split(",")))
    works = measure(list(peers.PEERS), given.quick, only, threads)
    if given.json:
        found = {title: [vars(row) for row in rows] for title, rows in works.items()}
        print(json.dumps({"benchmark": "kernels", "machine": peers.machine(), "works": found}))
        return
    print(peers.describe(peers.machine()))
    least = goals()
    for title, rows in works.items():
        by = {row.peer: row for row in rows}
        ours, torch = by[peers.OURS], by.get("torch")
        if ours.milliseconds is None or torch is None or torch.against_ours is None:
            note = next((row.note for row in rows if row.milliseconds is None), "")
            print(f"{title:<52} did not run: {note.splitlines()[0] if note else ''}")
            continue
        ratio = torch.against_ours
        missed = "" if ratio >= least[title] else f"  goal {least[title]:g}"
        fastest = (torch.fastest or 0) / (ours.fastest or 1)
        print(
            f"{title:<52} {ours.milliseconds * 1e3:10.1f} us   {ratio:5.2f}x (fastest {fastest:.2f}){missed}",
            flush=True,
        )


if __name__ == "__main__":
    main()
