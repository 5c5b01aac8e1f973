"""What all tests share: the slow marker, the built plug-in, one kernel cache."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

# Before anything imports Paddle: processes that tests start inherit both.
BUILT_PLUGIN = ROOT / "build" / "plugin"
if (BUILT_PLUGIN / "libopenxpu_paddle.so").is_file():
    os.environ.setdefault("CUSTOM_DEVICE_ROOT", str(BUILT_PLUGIN))
# The tree must not hide the installed package from them when they start in this folder; and they find whichever
# package these tests found.
package = importlib.util.find_spec("openxpu")
if package is not None and package.origin is not None:
    os.environ["PYTHONSAFEPATH"] = "1"
    before = os.environ.get("PYTHONPATH")
    found = str(Path(package.origin).parent.parent)
    os.environ["PYTHONPATH"] = found if before is None else found + os.pathsep + before
os.environ.setdefault("OPENXPU_CACHE_DIR", str(ROOT / "build" / "test-kernels"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the long sweeps (marked slow)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: a long sweep; runs with --slow or when chosen with -m slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow") or "slow" in config.getoption("-m"):
        return
    skip = pytest.mark.skip(reason="slow: give --slow to run it")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def paddle_xpu() -> ModuleType:
    """Paddle with the device xpu. Without a built plug-in: a skip for a developer, a failure in CI."""
    import paddle

    if "xpu" not in paddle.device.get_all_custom_device_type():
        sentence = (
            "Paddle has no device xpu: no libopenxpu_paddle.so was found in "
            f"{os.environ.get('CUSTOM_DEVICE_ROOT', 'site-packages/paddle_custom_device')}. "
            "Run `make build` first."
        )
        if IN_CI:
            pytest.fail(sentence)
        pytest.skip(sentence)
    return paddle


@pytest.fixture
def cable() -> Iterator[Any]:
    """Two machines (tests/collectives/machines.py): network name spaces with a cable between them."""
    from machines import two_machines

    if importlib.util.find_spec("libucx") is None:
        pytest.skip("UCX is not installed: pip install libucx-cu12")
    if shutil.which("ip") is None:
        pytest.skip("there is no `ip` to make network name spaces with: apt install iproute2")
    try:
        with two_machines() as made:
            yield made
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this system allows no network name spaces: {error.stderr}")
