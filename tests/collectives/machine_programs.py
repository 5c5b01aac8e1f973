# What the ranks of two machines run in tests.
from __future__ import annotations

import os
import signal
import time
import zlib
from pathlib import Path

import numpy as np
import programs

import openxpu
from openxpu.collectives import Group, unique_id
from openxpu.ops.creation import cast

# Each machine rounds its own part once: with sums of a few standard normals.
TOLERANCE = {"float16": 2e-2, "float32": 4e-6, "float64": 1e-14, "complex64": 4e-6, "complex128": 1e-14}


def close(array: openxpu.Array, expected: np.ndarray, what: str) -> None:
    found = openxpu.to_numpy(array)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype), what
    if expected.dtype.name not in TOLERANCE:
        assert np.array_equal(found, expected), what
        return
    near = TOLERANCE[expected.dtype.name]
    np.testing.assert_allclose(found, expected, rtol=near, atol=near, err_msg=what)


def every_collective(group: Group, dtypes: list[str], sizes: list[int]) -> int:
    return programs.every_collective(group, dtypes, sizes, close)


def same_bits(group: Group) -> int:
    """Every rank has the same bits after a reduction, also of bf16 and of many chunks; returns their sums of bits."""
    sums = []
    for dtype, size in (
        ("f16", 1),
        ("bf16", 70001),
        ("f32", 3),
        ("f32", 300_001),
        ("f32", 5_000_003),
        ("f64", 9999),
    ):
        x = cast(openxpu.from_numpy(programs.drawn("f32", (size,), group.rank)), dtype)
        for op in ("sum", "avg"):
            out = group.all_reduce(x, op)
            sums.append(zlib.crc32(np.ascontiguousarray(openxpu.to_numpy(out)).tobytes()))
            every = [programs.drawn("f32", (size,), r) for r in range(group.ranks)]
            total = np.sum(every, 0, dtype=np.float64) / (group.ranks if op == "avg" else 1)
            near = {"f16": 2e-2, "bf16": 1e-1}.get(dtype, 1e-5)
            np.testing.assert_allclose(openxpu.to_numpy(cast(out, "f32")), total, atol=near)
    rows = openxpu.to_numpy(group.all_gather(openxpu.from_numpy(np.array(sums, np.int64))))
    assert (rows == rows[0]).all()
    return len(sums)


def halves_do_not_overflow(group: Group) -> float:
    x = openxpu.from_numpy(np.full(40000, 60000, np.float16))
    return float(openxpu.to_numpy(group.all_reduce(x, "avg"))[-1])


def large(group: Group, megabytes: int) -> int:
    programs.every_collective(group, ["f32"], [megabytes << 18], close)
    return megabytes


def several_groups(group: Group, seed: int) -> int:
    """Random collectives on three groups and streams at once, with delays that differ from rank to rank."""
    n = group.ranks
    common, own = np.random.default_rng(seed), np.random.default_rng(seed + 1000 * (group.rank + 1))
    groups = [group]
    for turn in (1, 2):  # of the same ranks, turned
        maker = (n - turn) % n
        mine = unique_id(os.environ["RANK_ADDRESS"]) if group.rank == maker else bytes(len(unique_id()))
        shared = group.broadcast(openxpu.from_numpy(np.frombuffer(mine, np.uint8).copy()), maker)
        groups.append(Group(openxpu.to_numpy(shared).tobytes(), n, (group.rank + turn) % n, group.device))
    streams = [openxpu.Stream() for _ in groups]
    waiting = []
    for _ in range(90):
        k, size, kind = int(common.integers(3)), int(common.integers(1, 40000)), int(common.integers(4))
        g, stream = groups[k], streams[k]
        every = [programs.drawn("f32", (size,), 13 * size + r) for r in range(n)]
        x = openxpu.from_numpy(every[g.rank])
        openxpu.synchronize()
        if own.random() < 0.2:
            time.sleep(float(own.random()) * 0.004)
        with stream:
            if kind == 0:
                waiting.append((g.all_reduce(x, stream=stream), np.sum(every, 0), x))
            elif kind == 1:
                waiting.append((g.all_gather(x, stream=stream), np.stack(every), x))
            elif kind == 2:
                waiting.append((g.broadcast(x, size % n, stream=stream), every[size % n], x))
            else:
                g.send(x, (g.rank + 1) % n, stream=stream)
                source = (g.rank - 1) % n
                waiting.append((g.receive(openxpu.empty((size,)), source, stream=stream), every[source], x))
    for stream in streams:
        stream.synchronize()
    for out, expected, _ in waiting:
        close(out, expected, "several groups")
    return len(waiting)


def sends_before_the_end(group: Group) -> float:
    """The last rank sends and ends at once; rank 0 receives a second later."""
    x = openxpu.from_numpy(np.full(3_000_000, 7, np.float32))
    if group.rank == group.ranks - 1:
        group.send(x, 0)
        return 0.0
    if group.rank:
        return 0.0
    time.sleep(1.5)
    return float(openxpu.to_numpy(group.receive(openxpu.empty(x.shape), group.ranks - 1)).sum())


# ---- faults ----


def one_machine_is_lost(group: Group, how: str, folder: str, calls: int) -> list[tuple[str, str, float]]:
    """What this rank saw at the call during which the last rank dies or the cable is cut, and at the next one."""
    x = openxpu.zeros((100000,))
    for _ in range(calls):
        group.all_reduce(x)
    openxpu.synchronize()
    (Path(folder) / f"ready-{group.rank}").touch()
    while not (Path(folder) / "go").exists():
        time.sleep(0.005)
    if how == "killed" and group.rank == group.ranks - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stalls" and group.rank == group.ranks - 1:
        time.sleep(8)
        return []
    begin = time.monotonic()
    first = programs.failure_of(lambda: group.all_reduce(x))
    took = time.monotonic() - begin
    return [(first, programs.failure_of(lambda: group.all_reduce(x)), took)]


def disagree(group: Group, how: str) -> str:
    x = openxpu.zeros((1000,))
    if group.rank == group.ranks - 1:
        if how == "size":
            return programs.failure_of(lambda: group.all_reduce(x.view((999,))))
        if how == "large size":
            return programs.failure_of(lambda: group.all_reduce(openxpu.zeros((100001,))))
        if how == "dtype":
            return programs.failure_of(lambda: group.all_reduce(openxpu.zeros((1000,), "i32")))
        if how == "kind":
            return programs.failure_of(lambda: group.all_gather(x))
        return programs.failure_of(lambda: group.receive(openxpu.empty((5,)), 0))
    if how == "letter":
        group.send(x, group.ranks - 1)
        return programs.failure_of(group.barrier)
    return programs.failure_of(
        lambda: group.all_reduce(openxpu.zeros((100000,)) if how == "large size" else x)
    )
