"""Compiles a list of kernels in several processes; the images come back through the kernel cache.

Processes and not threads: half of a compilation is Python and Triton, the rest is LLVM behind llvmlite's one lock, and
two threads were measured to be no faster than one. Helpers are new interpreters, never forks, because the caller may
have streams and threads; they import no more than the compiler. The caller compiles too, from the first moment, so
that a helper that is slow to start, or that dies, costs nothing but its share.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from typing import Any

from openxpu.compiler import cache, get_image
from openxpu.compiler.target import Target

Request = tuple[str, list[str], dict[str, Any]]

_WORTH = 6  # kernels to compile per process: about what starting the compiler costs
_HELPER = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from openxpu.compiler.parallel import help_out; help_out()"
)


def processors() -> int:
    return len(os.sched_getaffinity(0))


def fill_cache(requests: list[Request], target: Target, jobs: int) -> None:
    """Compile those requests whose image is not in the cache, in at most `jobs` processes, this one included.

    Raises what get_image raises for the first kernel found that cannot be compiled."""
    missing: dict[str, Request] = {}
    for ref, arg_types, constexprs in requests:
        key = cache.key(ref, arg_types, constexprs, target)
        if not cache.path(key).exists():
            missing[key] = (ref, arg_types, constexprs)
    todo = deque(missing.values())
    helpers = [_Helper(todo, target) for _ in range(min(jobs, len(todo) // _WORTH) - 1)]
    try:
        with contextlib.suppress(IndexError):
            while True:
                get_image(*todo.popleft(), target)
        failed = [request for helper in helpers for request in helper.finish()]
    except BaseException:
        for helper in helpers:
            helper.stop()
        raise
    for request in failed:  # here, so that the error is the kernel's own
        get_image(*request, target)


class _Helper:
    """One process and the thread that hands it kernels."""

    def __init__(self, todo: deque[Request], target: Target) -> None:
        self.todo, self.target = todo, target
        self.failed: list[Request] = []
        self.ready = self.stopped = False
        self.process: subprocess.Popen[bytes] | None = None
        self.thread = threading.Thread(target=self._serve, name="openxpu-compile", daemon=True)
        # An interpreter that embeds Python has no program to start: the caller does all.
        with contextlib.suppress(OSError, ValueError):
            self.process = subprocess.Popen(
                [sys.executable or "", "-c", _HELPER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self.thread.start()

    def _serve(self) -> None:
        assert self.process is not None
        request = None
        try:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            pickle.dump(sys.path, self.process.stdin)
            self.process.stdin.flush()
            if self.process.stdout.readline() != b"ready\n":
                return
            self.ready = True
            while not self.stopped:
                request = self.todo.popleft()
                pickle.dump((*request, self.target), self.process.stdin)
                self.process.stdin.flush()
                if self.process.stdout.readline() != b"done\n":
                    self.failed.append(request)
        except IndexError:
            pass
        except (OSError, pickle.PicklingError, TypeError, AttributeError):  # it died, or this cannot be sent
            if request is not None:
                self.failed.append(request)
        finally:
            with contextlib.suppress(OSError):
                self.process.stdin.close()  # type: ignore[union-attr]

    def finish(self) -> list[Request]:
        """Wait for the last kernel; returns those that the helper could not compile."""
        if self.process is None:
            return []
        if self.ready:  # else everything was done before it had started
            self.thread.join()
        self.stop()
        return self.failed

    def stop(self) -> None:
        if self.process is None:
            return
        self.stopped = True
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdout.close()  # type: ignore[union-attr]


def help_out() -> None:
    """The helper's program: requests on standard input, one word on standard output for each."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a kernel's module prints
    importlib.import_module("openxpu.compiler.compile")  # Triton and LLVM, before the first kernel is taken
    answers.write(b"ready\n")
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            get_image(*request)
            answers.write(b"done\n")
        except Exception:
            answers.write(b"failed\n")
