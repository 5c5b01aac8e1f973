"""Data-parallel ResNet-18 on two cards: what the exchange of gradients costs beyond the sharing of the cores.

Two ranks train with and without the exchange (`no_sync`), in turns within one run, so that both share the machine with
the same neighbour; the difference is what communication costs and is not hidden behind the backward pass. One rank alone,
while the other sleeps, shows what the sharing itself costs. Processor time is compared as well: other programs on the
machine disturb it least, and it leaves out what ranks wait for each other."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import peers

WAYS = ("with exchange", "without", "alone")


def intervals(records: list[Any], chosen: bool) -> list[tuple[int, int]]:
    """When at least one of the records was under way; `chosen`: those of collectives, else all others."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted((r[3], r[4]) for r in records if (r[0] in COLLECTIVES) == chosen):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


COLLECTIVES = frozenset(("all_reduce", "broadcast", "all_gather", "reduce_scatter", "reduce", "barrier"))


def beside(a: Sequence[tuple[int, int]], b: Sequence[tuple[int, int]]) -> int:
    """Nanoseconds in which something of both was under way."""
    return sum(max(0, min(x[1], y[1]) - max(x[0], y[0])) for x in a for y in b)


def rank(answer: Path, batch: int, size: int, rounds: int, steps: int) -> None:
    """What each rank runs; rank 0 writes the times of each way, round by round, and one traced step to `answer`."""
    import paddle
    import paddle.distributed as dist

    from benchmarks.resnet18 import pictures
    from openxpu import _runtime

    paddle.set_device("xpu")
    dist.init_parallel_env()
    paddle.seed(0)
    network = paddle.vision.models.resnet18()
    model = paddle.DataParallel(network)
    momentum = paddle.optimizer.Momentum(0.01, 0.9, parameters=network.parameters(), weight_decay=1e-4)
    images, labels = (paddle.to_tensor(array) for array in pictures(batch, size))

    def step(exchange: bool) -> None:
        with contextlib.nullcontext() if exchange else model.no_sync():
            paddle.nn.functional.cross_entropy(model(images), labels).backward()
        momentum.step()
        momentum.clear_grad()

    def run(way: str) -> tuple[float, float]:
        """Seconds and processor seconds of a step: of the slower rank, and the mean of both."""
        dist.barrier()
        begin, used = time.perf_counter(), time.process_time()
        if way != "alone" or dist.get_rank() == 0:
            for _ in range(steps):
                step(way == WAYS[0])
            paddle.device.synchronize()
        spent = paddle.to_tensor([time.perf_counter() - begin], "float64")
        busy = paddle.to_tensor([time.process_time() - used], "float64")
        dist.all_reduce(spent, dist.ReduceOp.MAX)
        dist.all_reduce(busy)
        return float(spent.item()) / steps, float(busy.item()) / (1 if way == "alone" else 2) / steps

    for way in WAYS:
        run(way)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    processor: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(rounds):
        for way in WAYS[:: 1 if turn % 2 == 0 else -1]:
            for samples, value in zip((seconds[way], processor[way]), run(way), strict=True):
                samples.append(value)
    dist.barrier()
    _runtime.trace_start()
    step(True)
    paddle.device.synchronize()
    records = _runtime.trace_stop()
    talking, working = intervals(records, True), intervals(records, False)
    if dist.get_rank() == 0:
        spent = sum(end - begin for begin, end in talking)
        traced = {"exchange": spent * 1e-9, "beside_work": beside(talking, working) * 1e-9}
        answer.write_text(json.dumps({"seconds": seconds, "processor_seconds": processor, "traced": traced}))


def measure(batch: int, size: int, rounds: int, steps: int) -> dict[str, Any]:
    """Starts the ranks with Paddle's launcher. Raises SystemExit with their last words when they fail."""
    with tempfile.TemporaryDirectory() as folder:
        answer, logs = Path(folder, "answer"), Path(folder, "log")
        launcher = [
            sys.executable,
            "-m",
            "paddle.distributed.launch",
            "--devices",
            "0,1",
            "--log_dir",
            str(logs),
        ]
        given = [str(n) for n in (batch, size, rounds, steps)]
        child = subprocess.Popen(
            [*launcher, __file__, "--rank", str(answer), *given],
            env={
                **os.environ,
                "OPENXPU_CARDS": "2",
                "PYTHONPATH": os.pathsep.join([str(peers.ROOT), *filter(None, sys.path)]),
                "OMP_NUM_THREADS": "1",
                "GLOG_minloglevel": "2",
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            output = child.communicate(timeout=1800)[0]
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)  # the launcher ends its ranks
                child.wait(30)
        if not answer.exists():
            words = "\n".join(log.read_text()[-2000:] for log in sorted(logs.glob("workerlog.*")))
            raise SystemExit(f"The ranks failed.\n{output[-1000:]}\n{words}")
        found: dict[str, Any] = json.loads(answer.read_text())

    def more(kind: str, way: str, than: str) -> float:
        pairs = zip(found[kind][way], found[kind][than], strict=True)
        return statistics.median(a / b for a, b in pairs) - 1

    found["milliseconds"] = {way: 1e3 * statistics.median(found["seconds"][way]) for way in WAYS}
    found["lost"] = more("seconds", "with exchange", "without")
    found["lost_processor"] = more("processor_seconds", "with exchange", "without")
    found["sharing"] = more("seconds", "without", "alone")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--quick", action="store_true", help="small pictures, few rounds: does everything run?"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=8, help="of each rank")
    options = parser.parse_args()
    shape = (2, 64, 2, 1) if options.quick else (options.batch, 224, options.rounds, 2)
    here = {**peers.machine(), "threads_per_peer": 1}
    found = measure(*shape)
    if options.json:
        print(
            json.dumps(
                {"benchmark": "overlap", "machine": here, "batch": shape[0], "size": shape[1], **found}
            )
        )
        return
    print(peers.describe(here))
    print(
        f"ResNet-18 in f32, batch {shape[0]} at {shape[1]} on each of 2 ranks; medians of {shape[2]} rounds"
    )
    for way in WAYS:
        print(f"  {way:14} {found['milliseconds'][way]:9.1f} ms a step")
    print(f"lost to communication {100 * found['lost']:5.1f} % (goal: at most 5 %)")
    print(f"  of processor time   {100 * found['lost_processor']:5.1f} %")
    print(f"sharing the cores     {100 * found['sharing']:5.1f} % over one rank alone")
    traced = found["traced"]
    print(
        f"one step: collectives under way {1e3 * traced['exchange']:.1f} ms, "
        f"{1e3 * traced['beside_work']:.1f} ms of them beside kernels"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        rank(Path(sys.argv[2]), *map(int, sys.argv[3:]))
    else:
        main()
