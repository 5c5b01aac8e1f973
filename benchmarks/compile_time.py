"""How long a kernel takes to come into being: compiled for the first time, and read from the cache by a new process.

A process compiles one small kernel first, so that what is timed is the compilation and not the import of LLVM.
`python -m benchmarks.compile_time` prints milliseconds, medians over fresh processes."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import peers

PROGRAM = """
import json, time
import llvmlite.binding, triton
import openxpu.compiler
from openxpu.compiler import get_kernel
from openxpu.ops import attention, elementwise, layout, matmul, norm, softmax
from openxpu.ops.plan import PlanBuilder, Tensor

def tensors(*shapes, dtype="f32"):
    return [Tensor.argument(i, shape, dtype) for i, shape in enumerate(shapes)]

def finish(plan, shapes, *attributes):
    b = PlanBuilder("benchmark")
    plan(b, *tensors(*shapes), *attributes)
    b.finish()

n = (1024, 1024)
works = {
    "warm": lambda: finish(layout.plan_cumsum, [n, n], -1),
    "add": lambda: finish(elementwise.plan_binary, [n, n, n], "add"),
    "softmax": lambda: finish(softmax.plan_softmax, [n, n], -1),
    "layer norm": lambda: finish(norm.plan_layer_norm, [n, (1024,), (1024,), n, (1024,), (1024,)], 1e-5, 1),
    "matrix product": lambda: finish(matmul.plan_matmul, [n, n, n]),
    "flash attention": lambda: finish(
        attention.plan_flash_attention, [(1, 1024, 8, 64)] * 4 + [(1, 8, 1024)], 0.125, True
    ),
}
times = {}
for name, work in works.items():
    start = time.perf_counter()
    work()
    times[name] = 1e3 * (time.perf_counter() - start)
del times["warm"]
print(json.dumps(times))
"""
GOALS = {"flash attention": 500.0}
GOAL, CACHED_GOAL = 100.0, 2.0


@dataclass(frozen=True)
class Compilation:
    """Milliseconds until a kernel can be launched, planning included."""

    kernel: str
    first: float
    cached: float
    goal: float
    cached_goal: float = CACHED_GOAL


def times(cache: str) -> dict[str, float]:
    import openxpu

    package = str(Path(openxpu.__file__).parent.parent)  # the one that this process has found
    environment = {
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": package,
        "OPENXPU_CACHE_DIR": cache,
    }
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(
        command, cwd=peers.ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if run.returncode != 0:
        raise RuntimeError(f"Compiling failed:\n{run.stderr[-2000:]}")
    found: dict[str, float] = json.loads(run.stdout.strip().splitlines()[-1])
    return found


def measure(quick: bool) -> list[Compilation]:
    from rich.progress import track

    first: list[dict[str, float]] = []
    cached: list[dict[str, float]] = []
    for _ in track(range(1 if quick else 5), "compile_time", transient=True):
        with tempfile.TemporaryDirectory() as cache:
            first.append(times(cache))
            cached.append(times(cache))
    return [
        Compilation(
            name,
            statistics.median(run[name] for run in first),
            statistics.median(run[name] for run in cached),
            GOALS.get(name, GOAL),
        )
        for name in first[0]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--quick", action="store_true", help="one process instead of five")
    options = parser.parse_args()
    found = measure(options.quick)
    if options.json:
        print(json.dumps([asdict(c) for c in found], indent=1))
        return
    for c in found:
        print(
            f"{c.kernel:20} first {c.first:8.1f} ms (goal {c.goal:g})   cached {c.cached:6.2f} ms (goal {c.cached_goal:g})"
        )


if __name__ == "__main__":
    main()
