"""Compiling many kernels in several processes: all images arrive, errors are the kernel's own, helpers may fail."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from written import kernel

from openxpu import compiler
from openxpu.compiler import cache, image, parallel
from openxpu.compiler.target import host
from openxpu.compiler.tile_ir import CompileError

TYPES = ["*i64", "i32", "i64", "i64", "constexpr"]
REQUESTS = [("creation.arange", TYPES, {"BLOCK": 16 << i}) for i in range(5)]
WRITTEN = kernel("""
@triton.jit
def kernel(x, VALUE: tl.constexpr):
    tl.store(x, VALUE)
""")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENXPU_CACHE_DIR", str(tmp_path / "kernels"))
    monkeypatch.setattr(parallel, "_WORTH", 1)
    return tmp_path / "kernels"


@pytest.fixture
def compiled_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each compilation in this process."""
    from openxpu.compiler import compile as module

    original, seen = module.compile_kernel, []

    def counted(ref: str, *arguments: object) -> object:
        seen.append(ref)
        return original(ref, *arguments)

    monkeypatch.setattr(module, "compile_kernel", counted)
    return seen


def assert_all_there(requests: list[tuple[str, list[str], dict[str, object]]]) -> None:
    for ref, types, constants in requests:
        found = image.read(cache.path(cache.key(ref, types, constants, host())))
        assert found.metadata["name"] == ref


@pytest.mark.parametrize("jobs", [1, 2, 4, None])
def test_every_image_is_in_the_cache(jobs: int | None, folder: Path) -> None:
    requests = [*REQUESTS, *REQUESTS, *((WRITTEN, ["*i32", "constexpr"], {"VALUE": i}) for i in range(3))]
    compiler.precompile(requests, jobs=jobs)
    assert_all_there(requests)
    assert len(list(folder.rglob("*.oxk"))) == 8


def test_what_is_there_is_not_compiled(compiled_here: list[str]) -> None:
    compiler.precompile(REQUESTS[:3], jobs=1)
    compiler.precompile(REQUESTS, jobs=1)
    assert len(compiled_here) == 5


def test_few_kernels_start_no_process(monkeypatch: pytest.MonkeyPatch, compiled_here: list[str]) -> None:
    monkeypatch.setattr(parallel, "_WORTH", 6)
    monkeypatch.setattr(parallel, "_Helper", None)  # calling it would fail
    compiler.precompile(REQUESTS, jobs=4)
    assert len(compiled_here) == 5


def test_a_helper_compiles(monkeypatch: pytest.MonkeyPatch, compiled_here: list[str]) -> None:
    """This process waits before its first kernel until the helper has taken all."""
    gone = threading.Event()
    original = parallel._Helper.__init__

    def waiting(self: parallel._Helper, todo: object, target: object) -> None:
        original(self, todo, target)  # type: ignore[arg-type]
        self.thread.join(120)
        gone.set()

    monkeypatch.setattr(parallel._Helper, "__init__", waiting)
    compiler.precompile(REQUESTS, jobs=2)
    assert gone.is_set()
    assert compiled_here == []
    assert_all_there(REQUESTS)


@pytest.mark.parametrize(
    "program",
    [
        "import os; os._exit(3)",
        "import time; time.sleep(1000)",
        "print('hello')",
        "import pickle, sys; pickle.load(sys.stdin.buffer); print('ready', flush=True); pickle.load(sys.stdin.buffer)",
    ],
    ids=["dies", "hangs", "talks", "dies with a kernel"],
)
def test_a_helper_that_fails_costs_nothing(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_HELPER", program)
    compiler.precompile(REQUESTS, jobs=3)
    assert_all_there(REQUESTS)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_error_is_the_kernels_own(jobs: int) -> None:
    bad = ("creation.no_such_kernel", ["*f32"], {})
    with pytest.raises(CompileError, match="has no function no_such_kernel"):
        compiler.precompile([*REQUESTS, bad], jobs=jobs)


def test_no_process_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    original = parallel._Helper.__init__

    def noted(self: parallel._Helper, todo: object, target: object) -> None:
        original(self, todo, target)  # type: ignore[arg-type]
        started.append(self)

    monkeypatch.setattr(parallel._Helper, "__init__", noted)
    bad = ("creation.no_such_kernel", ["*f32"], {})
    with pytest.raises(CompileError):
        compiler.precompile([bad, *REQUESTS], jobs=3)
    compiler.precompile(REQUESTS, jobs=3)
    assert started
    for helper in started:
        assert helper.process is not None
        assert helper.process.returncode is not None
        assert not helper.thread.is_alive()


def test_a_number_of_jobs_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="jobs=0; give 1 or more, or None"):
        compiler.precompile(REQUESTS, jobs=0)


def test_the_caller_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork would copy locks that streams hold."""
    forked = []
    os.register_at_fork(after_in_parent=lambda: forked.append(1))
    compiler.precompile(REQUESTS, jobs=2)
    assert forked == []
