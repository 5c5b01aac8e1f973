# What the ranks of the tests run; every result is compared with NumPy on the rank itself.
from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np

import openxpu

INTEGERS = {"u8": np.uint8, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
FLOATS = {"f16": np.float16, "f32": np.float32, "f64": np.float64}
COMPLEX = {"c64": np.complex64, "c128": np.complex128}
ALL = {"bool": np.bool_, **INTEGERS, **FLOATS, **COMPLEX}


def drawn(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype in INTEGERS:
        return rng.integers(0, 100, shape).astype(INTEGERS[dtype])
    if dtype in COMPLEX:
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(COMPLEX[dtype])
    return rng.standard_normal(shape).astype(FLOATS[dtype])


def reduced(all_x: list[np.ndarray], op: str) -> np.ndarray:
    """In the order of the ranks, in f32 for f16, rounded once; truth values by "or" and "and"."""
    dtype = all_x[0].dtype
    if dtype == np.bool_:
        return np.any(all_x, 0) if op in ("sum", "max") else np.all(all_x, 0)
    wide = [x.astype(np.float32) if dtype == np.float16 else x for x in all_x]
    step = {"sum": np.add, "avg": np.add, "prod": np.multiply, "min": np.minimum, "max": np.maximum}[op]
    total = wide[0]
    with np.errstate(all="ignore"):
        for x in wide[1:]:
            total = step(total, x)
        if op == "avg" and np.issubdtype(dtype, np.integer):
            total = np.trunc(total / len(wide))
        elif op == "avg":
            real = total.real.dtype.type
            total = (np.ascontiguousarray(total).view(real) / real(len(wide))).view(total.dtype)
        return total.astype(dtype)


def same(array: openxpu.Array, expected: np.ndarray, what: str) -> None:
    found = openxpu.to_numpy(array)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype), what
    assert found.tobytes() == expected.tobytes() or np.array_equal(found, expected, equal_nan=True), what


def every_collective(group, dtypes: list[str], sizes: list[int], same=same) -> int:
    """The number of comparisons, which `same` makes."""
    n, me, cases = group.ranks, group.rank, 0
    for dtype in dtypes:
        ops = (
            ("sum", "avg")
            if dtype in COMPLEX
            else ("sum", "prod", "min", "max", *(() if dtype == "bool" else ("avg",)))
        )
        for size in sizes:
            every = [drawn(dtype, (size,), 100 * size + r) for r in range(n)]
            mine = openxpu.from_numpy(every[me])
            what = f"{dtype} {size}"
            for op in ops:
                same(group.all_reduce(mine, op), reduced(every, op), f"all_reduce {op} {what}")
                inside = openxpu.from_numpy(every[me])
                same(
                    group.all_reduce(inside, op, out=inside),
                    reduced(every, op),
                    f"all_reduce in place {op} {what}",
                )
                root = size % n
                out = group.reduce(mine, root, op)
                if me == root:
                    same(out, reduced(every, op), f"reduce {op} {what}")
                cases += 3
                parts = np.stack([drawn(dtype, (size,), 7 * size + n * me + c) for c in range(n)])
                columns = [drawn(dtype, (size,), 7 * size + n * r + me) for r in range(n)]
                out = group.reduce_scatter(openxpu.from_numpy(parts), op)
                same(out, reduced(columns, op), f"reduce_scatter {op} {what}")
            root = (size + 1) % n
            copy = openxpu.from_numpy(every[me])
            same(group.broadcast(copy, root), every[root], f"broadcast {what}")
            same(group.all_gather(mine), np.stack(every), f"all_gather {what}")
            counts = [[(size + 3 * a + b) % (size + 1) for b in range(n)] for a in range(n)]  # from a to b
            gone = [openxpu.from_numpy(drawn(dtype, (counts[me][p],), 31 * me + p)) for p in range(n)]
            outs = [openxpu.empty((counts[p][me],), dtype) for p in range(n)]
            group.all_to_all(gone, outs)
            for p in range(n):
                same(outs[p], drawn(dtype, (counts[p][me],), 31 * p + me), f"all_to_all {what}")
            # A ring of sends before receives would stand still without buffers.
            group.send(mine, (me + 1) % n)
            same(
                group.receive(openxpu.empty((size,), dtype), (me - 1) % n),
                every[(me - 1) % n],
                f"send {what}",
            )
            same(mine, every[me], f"input of {what}")
            cases += 5
    group.barrier()
    return cases


def bf16(group) -> int:
    """Sums of bf16 are those of f32, rounded once to even."""
    import ml_dtypes

    for size in (1, 33, 70001):
        every = [
            np.random.default_rng(r).standard_normal(size).astype(ml_dtypes.bfloat16)
            for r in range(group.ranks)
        ]
        total = every[0].astype("f4")
        for x in every[1:]:
            total = total + x.astype("f4")
        out = openxpu.to_numpy(group.all_reduce(openxpu.from_numpy(every[group.rank])))
        assert np.array_equal(
            np.asarray(out).view(np.uint16), total.astype(ml_dtypes.bfloat16).view(np.uint16)
        )
    return 3


def interleaved(group, ids: list[bytes], seed: int) -> int:
    """Random collectives on several groups and streams, with delays that differ from rank to rank."""
    from openxpu.collectives import Group

    common, own = np.random.default_rng(seed), np.random.default_rng(seed + 1000 * (group.rank + 1))
    groups = [
        group,
        *(Group(i, group.ranks, (group.rank + k + 1) % group.ranks, group.rank) for k, i in enumerate(ids)),
    ]
    streams = [openxpu.Stream() for _ in groups]
    waiting = []
    for _ in range(150):
        k, size, kind = (
            int(common.integers(len(groups))),
            int(common.choice([common.integers(1, 50), common.integers(1, 20000)])),
            int(common.integers(7)),
        )
        g, stream = groups[k], streams[k]
        n, me = g.ranks, g.rank
        # Ranks of the k-th group are this group's, turned by k.
        every = [drawn("f32", (size,), 13 * size + (r - k) % n) for r in range(n)]
        x = openxpu.from_numpy(every[me])
        openxpu.synchronize()
        if own.random() < 0.2:
            time.sleep(float(own.random()) * 0.004)
        with stream:
            if kind == 0:
                waiting.append((g.all_reduce(x, stream=stream), reduced(every, "sum"), x))
            elif kind == 1:
                waiting.append((g.all_gather(x, stream=stream), np.stack(every), x))
            elif kind == 2:
                waiting.append((g.broadcast(x, size % n, stream=stream), every[size % n], x))
            elif kind == 3:
                out = g.reduce(x, size % n, "max", stream=stream)
                waiting.append(
                    (x if out is None else out, every[me] if out is None else reduced(every, "max"), x)
                )
            elif kind == 4:
                parts = openxpu.from_numpy(np.stack([every[me] * (c + 1) for c in range(n)]))
                expected = reduced([e * np.float32(me + 1) for e in every], "sum")
                waiting.append((g.reduce_scatter(parts, stream=stream), expected, parts))
            elif kind == 5:
                outs = [openxpu.empty((size,)) for _ in range(n)]
                g.all_to_all([x] * n, outs, stream=stream)
                waiting.extend((out, e, x) for out, e in zip(outs, every, strict=True))
            else:
                g.send(x, (me + 1) % n, stream=stream)
                source = (me - 1) % n
                waiting.append((g.receive(openxpu.empty((size,)), source, stream=stream), every[source], x))
    for stream in streams:
        stream.synchronize()
    for out, expected, _ in waiting:
        same(out, expected, "interleaved")
    return len(waiting)


def letters_of_two_streams(group) -> int:
    """The sends to one rank arrive in the order of the calls, also when the first one's stream is late."""
    slow, quick = openxpu.Stream(), openxpu.Stream()
    if group.rank == 0:
        large = [openxpu.zeros((1 << 24,)) for _ in range(2)]
        first, second = (openxpu.from_numpy(drawn("f32", (1000 + i,), i)) for i in range(2))
        openxpu.synchronize()
        with slow:
            for _ in range(8):
                large[0].copy_(large[1])
        group.send(first, 1, stream=slow)
        group.send(second, 1, stream=quick)
        openxpu.synchronize()
        return 2
    for i in range(2):
        same(group.receive(openxpu.empty((1000 + i,)), 0), drawn("f32", (1000 + i,), i), f"letter {i}")
    return 2


def unread_letters(group, ids: list[bytes]) -> None:
    """What was sent stays readable when the sender's group is gone, and its memory comes back afterwards."""
    from openxpu.collectives import Group

    def used() -> int:
        openxpu.synchronize()
        return openxpu.current_device().memory_stats()["used"]

    other, rank = Group(ids[0], 2, group.rank), group.rank
    x, before = openxpu.from_numpy(drawn("f32", (1 << 20,), 5)), used()
    if rank == 0:
        other.send(x, 1)
        openxpu.synchronize()
        del other
        assert used() >= before + x.nbytes
    group.barrier()
    if rank == 1:
        openxpu.synchronize()
        same(
            other.receive(openxpu.empty((1 << 20,)), 0),
            drawn("f32", (1 << 20,), 5),
            "a letter of a group that is gone",
        )
    group.barrier()
    openxpu.synchronize()
    Group(ids[1], 2, rank)
    assert used() == before


def one_process_of_two_cards(_) -> None:
    """Ranks that are cards of one process, driven by one thread: no call may wait for another."""
    import threading

    from openxpu.collectives import Group, unique_id

    groups: list = [None, None]
    name = unique_id()

    def join(rank: int) -> None:
        groups[rank] = Group(name, 2, rank, rank)

    threads = [threading.Thread(target=join, args=(r,)) for r in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for size in (1, 5000, 1 << 20):
        every = [drawn("f32", (size,), r) for r in range(2)]
        xs = [openxpu.from_numpy(every[r], device=r) for r in range(2)]
        for _ in range(3):
            outs = [groups[r].all_reduce(xs[r]) for r in range(2)]
            copies = [groups[r].broadcast(xs[r].clone(), 1) for r in range(2)]
            for r in range(2):
                same(outs[r], reduced(every, "sum"), f"all_reduce {size}")
                same(copies[r], every[1], f"broadcast {size}")


def interrupted(group) -> str:
    """Ctrl-C reaches a caller that waits in a collective, which goes on afterwards."""
    x = openxpu.from_numpy(drawn("f32", (1000,), group.rank))
    openxpu.synchronize()
    group.barrier()
    openxpu.synchronize()
    stopped = "not interrupted"
    if group.rank == 0:
        out = group.all_reduce(x)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            openxpu.current_stream().synchronize()
        except KeyboardInterrupt:
            stopped = "interrupted"
    else:
        time.sleep(2)
        out = group.all_reduce(x)
    same(out, reduced([drawn("f32", (1000,), r) for r in range(2)], "sum"), "all_reduce")
    return stopped


# ---- faults ----


def failure_of(call) -> str:
    try:
        call()
        openxpu.synchronize()
    except openxpu.Error as error:
        return str(error)
    return "no failure"


def one_stops(group, how: str, folder: str) -> None:
    """Rank 1 goes in the middle; the others leave in `folder` what they saw at this call and at the next, and after how
    long."""
    x = openxpu.zeros((100000,))
    group.all_reduce(x)
    openxpu.synchronize()
    if group.rank == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "leaves":
            os._exit(0)
        else:
            time.sleep(6)
            return
    begin = time.monotonic()
    first = failure_of(lambda: group.all_reduce(x))
    took = time.monotonic() - begin
    second = failure_of(lambda: group.all_reduce(x))
    (Path(folder) / str(group.rank)).write_text(json.dumps([first, second, took]))


def disagree(group, how: str) -> str:
    x = openxpu.zeros((1000,))
    if group.rank == 1:
        if how == "size":
            return failure_of(lambda: group.all_reduce(x.view((999,))))
        if how == "dtype":
            return failure_of(lambda: group.all_reduce(openxpu.zeros((1000,), "i32")))
        if how == "kind":
            return failure_of(lambda: group.broadcast(x))
        return failure_of(lambda: group.receive(openxpu.empty((5,)), 0))
    if how == "letter":
        group.send(x, 1)
        return failure_of(group.barrier)
    return failure_of(lambda: group.all_reduce(x))


def beyond(x: openxpu.Array) -> openxpu.Array:
    """An array that begins in card memory and ends far outside."""
    return openxpu.Array(x, x.data_ptr(), (1 << 50,), "f32", None, x.device)


def wrong_arguments(group) -> int:
    """How many calls said what was wrong with them; `group` has one rank."""
    from openxpu.collectives import Group, unique_id

    x = openxpu.zeros((4,))
    cases = [
        (lambda: group.all_reduce(x, "median"), ValueError, "no reduction; known are sum, prod"),
        (lambda: group.send(x, 5), openxpu.Error, "receiver of a collective is rank 5; communicator "),
        (
            lambda: group.all_reduce(openxpu.zeros((3,), "bool"), "avg"),
            openxpu.Error,
            "average does not exist for bool",
        ),
        (
            lambda: group.reduce_scatter(openxpu.zeros((3, 2))),
            ValueError,
            "first dimension is the number of ranks, 1",
        ),
        (lambda: group.all_reduce(x, out=openxpu.zeros((5,))), ValueError, "contiguous f32 array"),
        (lambda: Group(unique_id(), 65, 0), openxpu.Error, "can have 1 to 64"),
        (lambda: group.all_to_all([x], [x]), openxpu.Error, "into its own input"),
        (lambda: group.all_to_all([x, x], [x]), ValueError, "for each of 1 ranks; given were 2 and 1"),
        (lambda: group.all_to_all([x], [openxpu.zeros((4,), "i32")]), TypeError, "given were f32, i32"),
        (lambda: group.all_reduce(openxpu.zeros((4, 4)).view((4,), (4,))), ValueError, "call clone() first"),
        (lambda: group.broadcast(np.zeros(4)), TypeError, "given was a numpy.ndarray"),
        (lambda: group.broadcast(beyond(x)), openxpu.Error, "is not within the memory of card 0"),
    ]
    right = 0
    for call, kind, words in cases:
        try:
            call()
        except kind as error:
            right += words in str(error)
    group.all_reduce(x)
    openxpu.synchronize()
    return right
