"""Streams and events: order, asynchrony, failures, profiles."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import machine_code
import numpy as np
import pytest

import openxpu
from openxpu import _runtime

LONG = 10_000_000  # turns: about ten milliseconds


@pytest.fixture
def card() -> _runtime.Card:
    return _runtime.card(0)


class Flag:
    """A word in host memory that a `hold` kernel watches."""

    def __init__(self) -> None:
        self.word = ctypes.c_int64(0)
        self.address = ctypes.addressof(self.word)

    def set(self) -> None:
        self.word.value = 1


@pytest.fixture
def flag() -> Iterator[Flag]:
    made = Flag()
    yield made
    made.set()  # a failed test must not hold the stream for ever
    _runtime.card(0).synchronize()


def words(array: openxpu.Array) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_int64 * array.size).from_address(array.data_ptr()))


def test_launches_run_in_order_over_all_programs(card: _runtime.Card) -> None:
    programs = 1000
    out = openxpu.zeros(programs, "i64")
    stream = card.current_stream
    # Costs from "stay where you are" to "wake everybody", mixed.
    expected = 0
    for i in range(200):
        stream.launch(
            machine_code.step(), (programs // 10, 5, 2), [out.data_ptr(), i], cost=(100, 50_000, 0)[i % 3]
        )
        expected = (expected * 3 + i) % 2**64
    stream.synchronize()
    assert set(out.numpy().view(np.uint64).tolist()) == {expected}


def test_empty_grid_runs_nothing(card: _runtime.Card) -> None:
    out = openxpu.zeros(4, "i64")
    card.current_stream.launch(machine_code.step(), (0, 5, 2), [out.data_ptr(), 7])
    assert not out.numpy().any()


def test_enqueue_returns_before_the_work_is_done(card: _runtime.Card, flag: Flag) -> None:
    out = openxpu.zeros(1, "i64")
    card.synchronize()
    stream = card.current_stream
    stream.launch(machine_code.hold(), (1, 1, 1), [out.data_ptr(), flag.address])
    event = _runtime.Event()
    stream.record(event)
    assert not stream.query()
    assert not event.query()
    assert words(out)[0] == 0
    flag.set()
    event.synchronize()
    assert event.query()
    assert words(out)[0] == 1
    assert event.query()


def test_stream_waits_for_the_record_at_call_time(card: _runtime.Card, flag: Flag) -> None:
    out = openxpu.zeros(2, "i64")
    card.synchronize()
    first, second = _runtime.Stream(card), _runtime.Stream(card)
    event, later = _runtime.Event(), Flag()
    first.launch(machine_code.hold(), (1, 1, 1), [out.data_ptr(), flag.address])
    first.record(event)
    second.wait(event)
    second.launch(machine_code.step(), (1, 1, 1), [out.data_ptr(), 100])  # 1 * 3 + 100, only after `first`
    # A later record of the same event must not hold `second` back: it waits for the one above.
    first.launch(machine_code.hold(), (1, 1, 1), [out.data_ptr() + 8, later.address])
    first.record(event)
    time.sleep(0.01)
    assert not second.query()
    flag.set()
    second.synchronize()
    assert words(out)[0] == 103
    assert words(out)[1] == 0
    assert not event.query()
    later.set()
    first.synchronize()
    assert event.query()


def test_streams_overlap(card: _runtime.Card, flag: Flag) -> None:
    out = openxpu.zeros(2, "i64")
    card.synchronize()
    streams = [_runtime.Stream(card), _runtime.Stream(card)]
    streams[0].launch(machine_code.hold(), (1, 1, 1), [out.data_ptr(), flag.address])
    streams[1].launch(machine_code.spin(), (1, 1, 1), [out.data_ptr() + 8, LONG])
    streams[1].synchronize()
    assert not streams[0].query()
    flag.set()
    streams[0].synchronize()
    assert words(out).tolist() == [1, 1]


def test_elapsed_time_matches_the_clock(card: _runtime.Card, flag: Flag) -> None:
    out = openxpu.zeros(1, "i64")
    start, end = openxpu.Event(), openxpu.Event()
    begin = time.monotonic()
    start.record()
    start.synchronize()
    reached = time.monotonic()
    card.current_stream.launch(machine_code.hold(), (1, 1, 1), [out.data_ptr(), flag.address])
    end.record()
    with pytest.raises(openxpu.Error, match="pending"):
        start.elapsed_time(end)
    time.sleep(0.02)
    released = time.monotonic()
    flag.set()
    end.synchronize()
    shortest, longest = released - reached, time.monotonic() - begin
    assert shortest * 1e3 <= start.elapsed_time(end) <= longest * 1e3
    with pytest.raises(openxpu.Error, match="never recorded"):
        start.elapsed_time(openxpu.Event())


def test_failed_assert_is_raised_once_with_its_message(card: _runtime.Card) -> None:
    _runtime.set_assert_messages(machine_code.fail(), ["first", "index out of range"])
    stream = card.current_stream
    stream.launch(machine_code.fail(), (1, 1, 1), [], name="gather")
    with pytest.raises(openxpu.LaunchError, match=r'"gather".*index out of range'):
        stream.synchronize()
    stream.synchronize()
    out = openxpu.zeros(1, "i64")
    stream.launch(machine_code.step(), (1, 1, 1), [out.data_ptr(), 5])
    assert out.item() == 5


def test_failed_assert_is_raised_by_the_very_next_wait_for_the_card(card: _runtime.Card) -> None:
    for _ in range(200):
        card.current_stream.launch(machine_code.fail(), (1, 1, 1), [], name="gather")
        with pytest.raises(openxpu.LaunchError, match='"gather"'):
            card.synchronize()
        card.synchronize()


def test_arguments_arrive_as_the_contract_says(card: _runtime.Card) -> None:
    out = openxpu.zeros(16, "i64")
    stream = card.current_stream
    stream.launch(machine_code.report(), (1, 1, 1), [out.data_ptr(), 4, -1, 1.5], scratch_bytes=1 << 20)
    got = out.numpy()
    assert got[2] == -1
    assert got[3:4].view(np.float32)[0] == 1.5
    assert got[4:6].view(np.uint32)[:3].tolist() == [1, 1, 1]
    assert got[6] != 0
    assert got[6] % 64 == 0


def test_many_threads_use_one_stream_and_their_own(card: _runtime.Card) -> None:
    """Every counter is right, although launches of several streams share the workers."""
    threads, rounds, programs = 8, 200, 64
    outs = [openxpu.zeros(programs, "i64") for _ in range(threads)]
    shared = openxpu.zeros(programs, "i64")
    card.synchronize()
    one = _runtime.Stream(card)
    errors: list[BaseException] = []

    def work(index: int) -> None:
        try:
            own = _runtime.Stream(card)
            for i in range(rounds):
                own.launch(machine_code.spin(), (programs, 1, 1), [outs[index].data_ptr(), 20])
                one.launch(machine_code.spin(), (programs, 1, 1), [shared.data_ptr(), 1])
                if i % 50 == 49:
                    own.synchronize()
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for t in workers:
        t.start()
    for t in workers:
        t.join(120)
    assert not errors
    one.synchronize()
    card.synchronize()
    assert all((words(out) == rounds).all() for out in outs)
    assert (words(shared) == rounds * threads).all()


@pytest.mark.parametrize("cost", [0, 100_000, 1 << 24])
def test_callers_that_wait_take_part(card: _runtime.Card, cost: int) -> None:
    """Sleeping and waking streams, several waiting threads, costs with and without bound: all programs run once, in order."""
    programs, rounds = 600, 25
    stream = card.current_stream
    results: dict[int, set[int]] = {}

    def use(number: int) -> None:
        out = openxpu.zeros(programs, "i64")
        for i in range(rounds):
            for k in range(3):
                stream.launch(
                    machine_code.step(),
                    (programs // 6, 3, 2),
                    [out.data_ptr(), 3 * i + k + number],
                    cost=cost,
                )
            stream.synchronize()
            if i % 5 == number:
                time.sleep(0.02)  # long enough for the stream and the workers to fall asleep
        results[number] = set(out.numpy().view(np.uint64).tolist())

    threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        expected = 0
        for i in range(3 * rounds):
            expected = (expected * 3 + i + number) % 2**64
        assert results[number] == {expected}


def test_threads_keep_their_cores(card: _runtime.Card) -> None:
    """A thread is woken on another core than its waker's; afterwards it may run wherever it might before."""
    out = openxpu.zeros(600, "i64")
    for i in range(10):
        time.sleep(0.02)
        card.current_stream.launch(machine_code.step(), (100, 3, 2), [out.data_ptr(), i], cost=1 << 24)
        card.synchronize()
    time.sleep(0.05)
    allowed = set()
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().startswith("openxpu-"):
            status = (task / "status").read_text()
            allowed.add(next(line for line in status.splitlines() if line.startswith("Cpus_allowed_list")))
    cores = sorted(os.sched_getaffinity(0))
    assert len(allowed) <= 1
    for line in allowed:
        listed: set[int] = set()
        for part in line.split()[1].split(","):
            low, _, high = part.partition("-")
            listed |= set(range(int(low), int(high or low) + 1))
        assert listed >= set(cores)


def test_a_full_queue_holds_the_caller_back_and_loses_nothing(card: _runtime.Card, flag: Flag) -> None:
    out = openxpu.zeros(1, "i64")
    stream = _runtime.Stream(card)
    card.synchronize()
    stream.launch(machine_code.hold(), (1, 1, 1), [out.data_ptr(), flag.address])
    threading.Timer(0.2, flag.set).start()
    source = np.arange(4000, dtype=np.int64)
    target = openxpu.zeros(4000, "i64")
    for i in range(100):  # 32 KB each travel inside the queue of 1 MB
        source[0] = i
        stream.copy(target.data_ptr(), source.ctypes.data, source.nbytes, "h2d")
    source[:] = -1
    stream.synchronize()
    assert words(target)[0] == 99
    assert words(target)[1:].tolist() == list(range(1, 4000))


@pytest.mark.parametrize("nbytes", [1, 63, 4096, 32768, 40000, 1 << 20, (5 << 20) + 3])
def test_copies_of_all_sizes(card: _runtime.Card, nbytes: int) -> None:
    rng = np.random.default_rng(nbytes)
    source = rng.integers(0, 256, nbytes, dtype=np.uint8)
    first, second = openxpu.from_numpy(source), openxpu.zeros(nbytes, "u8")
    card.current_stream.copy(second.data_ptr(), first.data_ptr(), nbytes, "d2d")
    np.testing.assert_array_equal(second.numpy(), source)
    card.current_stream.fill(second.data_ptr(), 0xAB, nbytes)
    assert (second.numpy() == 0xAB).all()
    skew = min(5, nbytes - 1)  # neither end on a line of the cache
    card.current_stream.fill(second.data_ptr() + skew, 0xCD, nbytes - skew - nbytes // 1000)
    wanted = np.full(nbytes, 0xCD, np.uint8)
    wanted[:skew] = wanted[nbytes - nbytes // 1000 :] = 0xAB
    np.testing.assert_array_equal(second.numpy(), wanted)


def test_host_memory_may_change_right_after_an_asynchronous_copy(card: _runtime.Card) -> None:
    out = openxpu.zeros(1, "i64")
    stream = card.current_stream
    for nbytes in (1000, 4 << 20):
        source = np.full(nbytes, 7, np.uint8)
        target = openxpu.zeros(nbytes, "u8")
        flag = Flag()
        stream.launch(machine_code.hold(), (1, 1, 1), [out.data_ptr(), flag.address])
        stream.copy(target.data_ptr(), source.ctypes.data, nbytes, "h2d")
        source[:] = 9
        flag.set()
        assert (target.numpy() == 7).all()


def test_trace_names_kernels_and_times(card: _runtime.Card) -> None:
    out = openxpu.zeros(1 << 16, "i64")
    card.synchronize()
    _runtime.trace_start()
    begin = time.monotonic_ns()
    card.current_stream.launch(
        machine_code.spin(), (1, 1, 1), [out.data_ptr(), LONG], cost=123, name="my_kernel"
    )
    card.current_stream.fill(out.data_ptr(), 0, out.nbytes)
    card.synchronize()
    end = time.monotonic_ns()
    records = _runtime.trace_stop()
    assert [r[0] for r in records] == ["my_kernel", "fill"]
    name, card_id, _, start, stop, size, entry, grid, args = records[0]
    assert (entry, grid, args) == (machine_code.spin(), (1, 1, 1), (out.data_ptr(), LONG))
    assert records[1][6:] == (0, (0, 0, 0), ())
    assert (name, card_id, size) == ("my_kernel", 0, 123)
    assert begin <= start < stop <= records[1][3] <= records[1][4] <= end
    assert _runtime.trace_stop() == []


def test_one_trace_at_a_time() -> None:
    _runtime.trace_start()
    try:
        with pytest.raises(openxpu.Error, match="another one is being taken"):
            _runtime.trace_start()
    finally:
        _runtime.trace_stop()
    _runtime.trace_start()
    _runtime.trace_stop()


def test_denormals_are_kept(card: _runtime.Card) -> None:
    text = (
        machine_code.HEADER.format(name="halve")
        + """{
  %out = load ptr, ptr %args
  %x = load float, ptr %out
  %y = fmul float %x, 5.0e-1
  store float %y, ptr %out
  ret i32 0
}
"""
    )
    tiny = np.float32(np.finfo(np.float32).tiny)
    for cost in (64, 0):  # on the calling thread, on the stream's
        out = openxpu.from_numpy(np.array([tiny]))
        card.synchronize()
        card.current_stream.launch(machine_code.entry(text, "halve"), (1, 1, 1), [out.data_ptr()], cost=cost)
        assert out.numpy()[0] == tiny / np.float32(2)


def test_stream_context_and_wait_stream() -> None:
    out = openxpu.zeros(1, "i64")
    openxpu.synchronize()
    side = openxpu.Stream()
    main = openxpu.current_stream()
    with side:
        assert openxpu.current_stream().native.handle == side.native.handle
        openxpu.current_stream().native.launch(machine_code.spin(), (1, 1, 1), [out.data_ptr(), LONG])
    assert openxpu.current_stream().native.handle == main.native.handle
    main.wait_stream(side)
    main.native.launch(machine_code.step(), (1, 1, 1), [out.data_ptr(), 10])
    main.synchronize()
    assert words(out)[0] == 13


BLOCKING = """
import machine_code, openxpu
from openxpu import _runtime
stream = _runtime.card(0).current_stream
out = openxpu.zeros(1, "i64")
stream.launch(machine_code.spin(), (1, 1, 1), [out.data_ptr(), 1000000])
assert stream.query()
try:
    stream.launch(machine_code.fail(), (1, 1, 1), [], name="culprit")
except openxpu.LaunchError as error:
    assert "culprit" in str(error)
    print("raised at once")
"""


def test_blocking_mode_raises_where_the_launch_is(python_here: dict[str, str]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", BLOCKING],
        env={**python_here, "OPENXPU_BLOCKING": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout == "raised at once\n", result.stderr


INTERRUPTED = """
import ctypes, os, signal, threading
import machine_code, openxpu
from openxpu import _runtime
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # does not outlive the test
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in background jobs
flag = ctypes.c_int64(0)
stream = _runtime.card(0).current_stream
out = openxpu.zeros(1, "i64")
stream.launch(machine_code.hold(), (1, 1, 1), [out.data_ptr(), ctypes.addressof(flag)])
print("waiting", flush=True)
try:
    openxpu.synchronize()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    flag.value = 1
    openxpu.synchronize()
    assert out.item() == 1
"""


def test_interrupt_ends_a_wait(python_here: dict[str, str]) -> None:
    import signal

    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], env=python_here, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    try:
        assert process.stdout.readline() == "interrupted\n"
        assert process.wait(20) == 0
    finally:
        process.kill()
