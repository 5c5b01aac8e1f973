"""Certifies one model in a process of its own: `python -m openxpu.certify.worker ORDER`, ORDER a JSON object.

The result is a file, written aside and renamed: a certification that is interrupted goes on with the next model."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from openxpu.certify import report

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def result_of(order: dict[str, Any]) -> dict[str, Any]:
    """{"model", "task", "source", "stages": {stage: {"passed", "seconds", ...}}, "processor", "cores", "fallbacks", "native_calls",
    "peak_bytes", "multiply_adds" of one sample, forward}"""
    from openxpu.certify import user
    from openxpu.certify.stages import NEEDS, STAGES, Run, StageFailed
    from openxpu.models import find

    model = user.model(order["model"], order["input"]) if order.get("input") else find([order["model"]])[0]
    found: dict[str, Any] = {"model": model.name, "task": model.task, "source": model.source, "stages": {}}
    if model.missing:
        return {**found, "skipped": model.missing}
    import paddle

    from openxpu.paddle import counters

    stages: dict[str, Any] = found["stages"]
    with tempfile.TemporaryDirectory(prefix="openxpu-certify-") as folder:
        run = Run(model, order["batch"], order["seed"], Path(folder), shapes=tuple(order.get("input", ())))
        for name in order["stages"]:
            lacking = [n for n in NEEDS.get(name, ()) if not stages.get(n, {}).get("passed")]
            if lacking:
                stages[name] = {"passed": False, "error": f"Not tried: it needs {', '.join(lacking)}."}
                continue
            start = time.perf_counter()
            try:
                details = STAGES[name](run)
                if details is None:
                    continue  # the model has no such stage
                stages[name] = {"passed": True, **details}
            except StageFailed as failed:
                stages[name] = {"passed": False, "error": str(failed)}
            except Exception as error:
                stages[name] = {
                    "passed": False,
                    "error": f"{type(error).__name__}: {error}"[:2000],
                    "trace": "".join(traceback.format_exception(error)[-6:])[-4000:],
                }
            stages[name]["seconds"] = time.perf_counter() - start
    found["processor"] = processor()
    found["cores"] = len(os.sched_getaffinity(0))
    found["fallbacks"] = dict(Counter(counters.fallbacks()) - run.folded)
    found["native_calls"] = sum(counters.native_calls().values())
    found["peak_bytes"] = int(paddle.device.xpu.max_memory_allocated(0))
    if "forward" in stages:
        from openxpu.models import flops

        try:
            found["multiply_adds"] = flops.of(model).multiply_adds
        except Exception as error:  # it is no stage: a model that cannot be counted can still be certified
            found["uncounted"] = f"{type(error).__name__}: {error}"[:300]
    return found


def processor() -> str:
    """The name that Linux gives this machine's processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    # Whoever certifies may be killed; a worker of several gigabytes would go on for minutes.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    order = json.loads(sys.argv[1])
    if order.get("cores"):
        os.sched_setaffinity(0, order["cores"])  # before any library counts them
    for module in order.get("import", ()):
        importlib.import_module(module)
    result = result_of(order)
    report.keep(Path(order["result"]), json.dumps({**result, "key": order["key"]}, indent=1))


if __name__ == "__main__":
    main()
