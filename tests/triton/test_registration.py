"""How Triton finds the back end: the entry point, one concrete class for each half, the choice among drivers."""

import importlib
import os
import platform
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from triton.backends import BaseBackend, DriverBase, _find_concrete_subclasses, backends

ROOT = Path(__file__).parent.parent.parent


def test_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    package = project["entry-points"]["triton.backends"]["openxpu"]
    compiler = importlib.import_module(f"{package}.compiler")
    driver = importlib.import_module(f"{package}.driver")
    assert backends["openxpu"].compiler is _find_concrete_subclasses(compiler, BaseBackend)
    assert backends["openxpu"].driver is _find_concrete_subclasses(driver, DriverBase)


# Stands in for an installation: a folder on the path with the entry point of pyproject.toml.
PROGRAM = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "paddle"):
            raise ModuleNotFoundError(f"{name} is not to be imported here")

sys.meta_path.insert(0, NoTorch())
import triton, triton.language as tl
from kernels import fill_kernel
import openxpu

assert triton.runtime.driver.active.get_current_target().backend == "openxpu"
assert str(triton.runtime.driver.active.get_active_torch_device()) == "xpu:0"
out = openxpu.empty(100)
for value in (1.0, 2.0, 3.0):
    fill_kernel[lambda meta: (triton.cdiv(100, meta["BLOCK"]),)](out, value, 100, BLOCK=32)
    assert (out.numpy() == value).all()
assert "torch" not in sys.modules and "paddle" not in sys.modules
print("filled")
"""

KERNELS = """
import triton, triton.language as tl

@triton.jit
def fill_kernel(out, value, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, value, mask=i < n)
"""


@pytest.fixture
def installed(tmp_path):
    """An environment in which importlib.metadata finds the entry point, whether OpenXPU is installed or not."""
    (tmp_path / "kernels.py").write_text(KERNELS)
    (tmp_path / "other").mkdir()
    info = tmp_path / "other" / "openxpu-0.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: openxpu\nVersion: 0.0.0\n")
    (info / "entry_points.txt").write_text("[triton.backends]\nopenxpu = openxpu.triton\n")
    path = [str(tmp_path), str(info.parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "TRITON_CACHE_DIR": str(tmp_path / "cache")}


def run(program, environment):
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_without_torch_and_paddle(installed):
    for _ in range(2):  # the second time from the cache
        done = run(PROGRAM, installed)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "filled\n"


def test_the_driver_by_name(installed):
    done = run(PROGRAM, {**installed, "TRITON_DEFAULT_BACKEND": "openxpu"})
    assert done.returncode == 0, done.stderr
    done = run(PROGRAM, {**installed, "TRITON_DEFAULT_BACKEND": "nvidia"})
    assert "Backend device 'nvidia' is not active" in done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("z80", 'There is no target "z80"; give one of x86-64'),
        ("aarch64", 'The target "aarch64" was asked for'),
    ],
)
def test_a_target_that_cannot_be_had_is_not_a_missing_driver(installed, name, words):
    if name == platform.machine():
        pytest.skip("this machine runs it")
    done = run(PROGRAM, {**installed, "OPENXPU_TARGET": name})
    assert done.returncode != 0
    assert words in done.stderr
    assert "0 active drivers" not in done.stderr


def test_importing_triton_leaves_the_compiler_alone(installed):
    program = "import sys, triton; assert 'llvmlite' not in sys.modules and 'openxpu.compiler.compile' not in sys.modules"
    done = run(program, installed)
    assert done.returncode == 0, done.stderr
