# paddle.profiler: the card's kernels and copies under their names, in time order, with what launched them.

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import profiler


def work() -> None:
    x = paddle.to_tensor(np.ones((64, 64), np.float32))
    y = paddle.nn.functional.softmax(paddle.matmul(x, x) + x)
    y.clone().sum().item()


def record(path: Path) -> list[dict]:
    """The events of a Chrome trace of `work`."""
    work()
    with profiler.Profiler(
        targets=[profiler.ProfilerTarget.CPU, profiler.ProfilerTarget.CUSTOM_DEVICE],
        on_trace_ready=lambda p: p.export(str(path), format="json"),
    ):
        work()
    return json.loads(path.read_text())["traceEvents"]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory, paddle_xpu: object) -> list[dict]:
    paddle.set_device("xpu")
    return record(tmp_path_factory.mktemp("profile") / "trace.json")


def test_kernels_appear_by_name(events: list[dict]) -> None:
    names = {event["name"].split("[")[0].strip() for event in events if event.get("cat") == "Kernel"}
    for part in ("matmul", "softmax", "reduce", "pointwise"):
        assert any(part in name for name in names), f"no kernel of {part} among {sorted(names)}"


def test_copies_appear(events: list[dict]) -> None:
    assert any(event.get("cat") == "Memcpy" for event in events)


def test_times_are_those_of_the_run(events: list[dict]) -> None:
    host = [e for e in events if e.get("cat") == "Operator" and e.get("ph") == "X"]
    card = [e for e in events if e.get("cat") == "Kernel" and e.get("ph") == "X"]
    assert host
    assert card
    begin = min(e["ts"] for e in host)
    for event in card:
        assert event["dur"] >= 0
        assert event["ts"] >= begin


def test_the_summary_lists_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    with profiler.Profiler(
        targets=[profiler.ProfilerTarget.CPU, profiler.ProfilerTarget.CUSTOM_DEVICE],
        on_trace_ready=lambda _: None,  # else it writes a folder
    ) as profile:
        work()
        profile.step()
    profile.summary(sorted_by=profiler.SortedKeys.CPUTotal, op_detail=True)
    text = capsys.readouterr().out
    assert "softmax" in text


def test_profiling_twice_starts_afresh(tmp_path: Path) -> None:
    def kernels(events: list[dict]) -> list[str]:
        return sorted(e["name"] for e in events if e.get("cat") == "Kernel")

    first, second = record(tmp_path / "a.json"), record(tmp_path / "b.json")
    assert len(kernels(first)) == len(kernels(second)) > 0


def test_events_of_streams_that_come_and_go(tmp_path: Path) -> None:
    from openxpu import _runtime

    card = _runtime.card(0)
    for _ in range(3):  # makes numbers of streams and of their bits differ
        stream = _runtime.Stream(card)
        del stream
    made = paddle.device.Stream("xpu")
    with paddle.device.stream_guard(made):
        events = record(tmp_path / "streams.json")
    assert any(event.get("cat") == "Kernel" for event in events)
