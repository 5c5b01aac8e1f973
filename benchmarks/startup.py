"""What the plug-in adds to the start of a program: seconds and memory of `import paddle` with and without."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass

from benchmarks import peers

PROGRAM = """
import json, os, resource, sys, time
start = time.perf_counter()
import paddle
imported = time.perf_counter() - start
device = sys.argv[1]
if device:
    paddle.set_device(device)
    x = paddle.to_tensor([[1.0, -2.0], [3.0, 4.0]])
    paddle.nn.functional.softmax(paddle.matmul(paddle.nn.functional.relu(x), x)).numpy()
pages = int(open("/proc/self/statm").read().split()[1])
heavy = [name for name in ("triton", "llvmlite") if name in sys.modules]
print(json.dumps([imported, time.perf_counter() - start, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, heavy]))
"""


@dataclass(frozen=True)
class Start:
    """Medians over fresh processes: seconds of the import, seconds until all is done, MiB resident."""

    what: str
    import_seconds: float
    first_result_seconds: float
    resident_mib: float
    compilers_imported: list[str]


def start_once(device: str, plugin: bool) -> tuple[float, float, float, list[str]]:
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryDirectory() as empty:
        if not plugin:
            environment["CUSTOM_DEVICE_ROOT"] = empty  # Paddle looks for plug-ins there and finds none
        command = [sys.executable, "-c", PROGRAM, device]
        run = subprocess.run(
            command, cwd=peers.ROOT, env=environment, capture_output=True, text=True, check=False
        )
    if run.returncode != 0:
        raise RuntimeError(f"Starting Paddle on {device!r} failed:\n{run.stderr[-2000:]}")
    imported, total, memory, heavy = json.loads(run.stdout.strip().splitlines()[-1])
    return imported, total, memory, heavy


def measure(quick: bool) -> list[Start]:
    cases = [
        ("import paddle, without the plug-in", "", False),
        ("import paddle, with the plug-in", "", True),
        ("three operators on Paddle's CPU device, without the plug-in", "cpu", False),
        ("three operators on xpu, kernels cached", "xpu", True),
    ]
    samples: dict[str, list[tuple[float, float, float, list[str]]]] = {what: [] for what, _, _ in cases}
    for turn in range(3 if quick else 8):
        for what, device, plugin in cases:
            sample = start_once(device, plugin)
            if turn > 0:  # the first turn fills the page cache and the kernel cache
                samples[what].append(sample)
    return [
        Start(
            what,
            statistics.median(sample[0] for sample in taken),
            statistics.median(sample[1] for sample in taken),
            statistics.median(sample[2] for sample in taken),
            sorted({name for sample in taken for name in sample[3]}),
        )
        for what, taken in samples.items()
    ]


def added(starts: list[Start]) -> dict[str, float]:
    """What the plug-in adds, as differences of the medians."""
    bare, plugged, cpu, card = starts
    return {
        "import_seconds": plugged.import_seconds - bare.import_seconds,
        "import_mib": plugged.resident_mib - bare.resident_mib,
        "first_result_seconds": card.first_result_seconds - cpu.first_result_seconds,
        "first_result_mib": card.resident_mib - cpu.resident_mib,
    }


if __name__ == "__main__":
    given = peers.options_from(__doc__)
    starts = measure(given.quick)
    if given.json:
        here = peers.machine()
        report = {"starts": [asdict(start) for start in starts], "added": added(starts)}
        print(json.dumps({"benchmark": "startup", "machine": here, **report}))
    else:
        print(peers.describe(peers.machine()))
        for start in starts:
            heavy = ", ".join(start.compilers_imported) or "neither triton nor llvmlite imported"
            print(
                f"  {start.what:<62} import {start.import_seconds:6.2f} s, first result "
                f"{start.first_result_seconds:6.2f} s, {start.resident_mib:6.0f} MiB ({heavy})"
            )
        for name, value in added(starts).items():
            print(f"  added {name}: {value:.2f}")
