"""The cache's limit: what was used longest ago goes, nobody is disturbed, the folder is rarely listed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openxpu import compiler, environment
from openxpu.compiler import cache, eviction, image
from openxpu.compiler.target import host

ELF = bytes(1000)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENXPU_CACHE_DIR", str(tmp_path / "kernels"))
    monkeypatch.delenv("OPENXPU_CACHE_LIMIT", raising=False)
    return tmp_path / "kernels"


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """One entry for each time that the folder is listed."""
    original, seen = eviction.listing, []

    def counted(folder: Path) -> eviction.Listing:
        seen.append(folder)
        return original(folder)

    monkeypatch.setattr(eviction, "listing", counted)
    return seen


def key(number: int) -> str:
    return f"{number:02x}" * 32


def put(folder: Path, number: int, age: float = 0) -> Path:
    """An image of 1000 bytes of code, last used `age` seconds ago."""
    path = cache.path(key(number))
    eviction.store(folder, path, image.Image({"name": "kernel", "number": f"{number:03d}"}, ELF))
    if age:
        os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def nbytes(folder: Path) -> int:
    """What one of them takes."""
    size = put(folder, 200).stat().st_size
    eviction.clear(folder)
    return size


def left(folder: Path) -> set[str]:
    return {entry.path.name[:2] for entry in eviction.listing(folder).entries}


def test_what_was_used_longest_ago_goes(folder: Path, nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ages = {1: 50, 2: 400, 3: 10, 4: 300, 5: 20}
    for number, age in ages.items():
        put(folder, number, age)
    monkeypatch.setenv("OPENXPU_CACHE_LIMIT", str(5 * nbytes))
    put(folder, 6)
    assert left(folder) == {"01", "03", "05", "06"}, "down to nine tenths: two had to go"


def test_a_hit_counts_as_use(folder: Path) -> None:
    arguments = ("creation.arange", ["*i64", "i32", "i64", "i64", "constexpr"], {"BLOCK": 64}, host())
    _, path = compiler.get_image(*arguments)
    os.utime(path, (1000, 1000))
    compiler.get_image(*arguments)
    assert time.time() - Path(path).stat().st_mtime < 3600


def test_without_a_limit_all_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENXPU_CACHE_LIMIT", "0")
    for number in range(20):
        put(folder, number, 100)
    assert len(left(folder)) == 20


def test_an_image_larger_than_the_limit_stays_until_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENXPU_CACHE_LIMIT", "100")
    put(folder, 1, 10)
    assert left(folder) == {"01"}
    put(folder, 2)
    assert left(folder) == {"02"}


def test_the_folder_is_not_listed_for_every_image(
    folder: Path, nbytes: int, listings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENXPU_CACHE_LIMIT", str(100 * nbytes))
    for number in range(100):
        put(folder, number)
    assert len(listings) == 0, "the ledger was made when the fixture cleared the folder"
    for number in range(100, 110):
        put(folder, number)
    assert len(listings) == 1, "one eviction makes room for ten more"


def test_a_cache_without_a_ledger_is_counted_once(
    folder: Path, nbytes: int, listings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        put(folder, number, 100 - number)
    (folder / eviction.LEDGER).unlink()
    monkeypatch.setenv("OPENXPU_CACHE_LIMIT", str(10 * nbytes))
    put(folder, 8)
    put(folder, 9)
    assert len(listings) == 1
    assert len(left(folder)) == 10
    put(folder, 10)
    assert "00" not in left(folder)


@pytest.mark.parametrize(
    "text", [b"", b"rubbish", b"12", b"nan nan nan", b"5 99999999999999", b"5 nan", bytes(64)], ids=repr
)
def test_a_damaged_ledger_is_made_anew(folder: Path, nbytes: int, text: bytes) -> None:
    put(folder, 1)
    (folder / eviction.LEDGER).write_bytes(text)
    put(folder, 2)
    total, listed = (folder / eviction.LEDGER).read_text().split()
    assert int(total) == 2 * nbytes
    assert abs(float(listed) - time.time()) < 3600


def test_the_ledger_is_corrected_once_a_day(folder: Path, nbytes: int) -> None:
    put(folder, 1)
    (folder / eviction.LEDGER).write_text(f"{10**12} {time.time() - 25 * 3600}")
    put(folder, 2)
    assert int((folder / eviction.LEDGER).read_text().split()[0]) == 2 * nbytes


def test_what_killed_processes_left_is_removed_and_what_is_being_written_is_not(folder: Path) -> None:
    path = put(folder, 1)
    old, new = (path.parent / f"{path.name}{name}.part" for name in ("old", "new"))
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    (folder / eviction.LEDGER).unlink()
    put(folder, 2)
    assert not old.exists()
    assert new.exists()


def test_a_ledger_that_is_locked_for_long_costs_the_count_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, 1)
    monkeypatch.setattr(eviction, "_LOCK_SECONDS", 0.05)
    with eviction._locked(folder) as ledger:
        assert ledger is not None
        path = put(folder, 2)
    assert image.read(path).elf == ELF


HOLDER = """
import sys
from openxpu.compiler import eviction
from pathlib import Path
with eviction._locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_free(folder: Path, nbytes: int) -> None:
    put(folder, 1)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
    finally:
        process.kill()
        process.communicate()
    put(folder, 2)
    assert int((folder / eviction.LEDGER).read_text().split()[0]) == 2 * nbytes


TOGETHER = """
import sys
from openxpu import compiler
from openxpu.compiler import cache, eviction, image
from openxpu.environment import cache_dir
me, elf = int(sys.argv[1]), bytes(1000)
print("ready", flush=True)
sys.stdin.readline()
for turn in range(150):
    number = (turn * 7 + me * 13) % 40
    path = cache.path(f"{number:02x}" * 32)
    try:
        found = image.read(path)
        assert int(found.metadata["number"]) == number and found.elf == elf
        eviction.touch(path)
    except FileNotFoundError:
        eviction.store(cache_dir(), path, image.Image({"name": "kernel", "number": f"{number:03d}"}, elf))
print("done", flush=True)
"""


def test_processes_store_read_and_evict_at_once(
    folder: Path, nbytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 20 * nbytes
    monkeypatch.setenv("OPENXPU_CACHE_LIMIT", str(limit))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, str(i)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(4)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            out, _ = process.communicate(timeout=120)
            assert out == "done\n"
    finally:
        for process in processes:
            process.kill()
            process.wait()
    found = eviction.listing(folder)
    # Between storing and counting, each process may have one image that nobody has counted.
    assert found.nbytes <= limit + 4 * nbytes
    assert found.entries
    assert not found.unfinished
    for entry in found.entries:
        assert image.read(entry.path).elf == ELF


COMPILING = """
import sys
from openxpu.compiler import eviction
from openxpu.ops import creation
from openxpu.environment import cache_dir
print("ready", flush=True)
sys.stdin.readline()
total = 0
for n in (10, 100, 1000):
    total += creation.arange(0, n, 1).numpy().sum() + creation.arange(0.0, n, 1.0).numpy().sum()
    eviction.clear(cache_dir())
print(total, flush=True)
"""


def test_kernels_in_use_survive_the_removal_of_their_files(folder: Path) -> None:
    """Two processes compile, run and clear one cache under each other."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMPILING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            out, _ = process.communicate("\n", timeout=120)
            assert float(out) == 2 * (45 + 4950 + 499500)
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 2 << 30), ("0", 0), ("512M", 512 << 20), ("1.5g", 3 << 29), ("2GiB", 2 << 30), ("4096", 4096)],
)
def test_the_limit_is_a_size(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENXPU_CACHE_LIMIT", text)
    assert environment.cache_limit() == size


@pytest.mark.parametrize("text", ["lots", "-1", "2X", "G", "1e3", "nan"])
def test_a_limit_that_is_no_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENXPU_CACHE_LIMIT", text)
    with pytest.raises(ValueError, match=f'OPENXPU_CACHE_LIMIT is "{text}"; give a size such as 2G'):
        environment.cache_limit()


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "openxpu.cli", "cache", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_shows_and_clears(folder: Path, nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        put(folder, number)
    state = json.loads(command("--json").stdout)
    assert (state["folder"], state["entries"], state["bytes"]) == (str(folder), 3, 3 * nbytes)
    assert (state["limit_bytes"], state["unfinished"]) == (2 << 30, 0)
    assert abs(state["least_recent_use"] - time.time()) < 3600
    shown = command().stdout
    assert str(folder) in shown
    assert f"{3 * nbytes / 1024:.1f} KiB of 2.0 GiB" in shown
    assert command("clear").stdout.startswith("Removed 3 kernels, ")
    assert json.loads(command("--json").stdout)["entries"] == 0
    assert (folder / eviction.LEDGER).read_text().split()[0] == "0"


def test_the_command_on_a_cache_that_does_not_exist(folder: Path) -> None:
    assert json.loads(command("--json").stdout)["entries"] == 0
    assert command("clear", "--json").returncode == 0
    assert not folder.exists()


def test_the_command_explains_a_bad_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENXPU_CACHE_LIMIT", "much")
    done = command()
    assert done.returncode == 1
    assert done.stderr.startswith('openxpu: OPENXPU_CACHE_LIMIT is "much"')
