"""The kernel cache: what is damaged, foreign or half written is compiled again; processes do not disturb each other."""

from __future__ import annotations

import ast
import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from openxpu import compiler
from openxpu.compiler import cache, eviction, image
from openxpu.compiler.target import X86_64_V3, X86_64_V4, host

REF, TYPES, CONSTANTS = "creation.arange", ["*i64", "i32", "i64", "i64", "constexpr"], {"BLOCK": 64}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENXPU_CACHE_DIR", str(tmp_path / "kernels"))
    return tmp_path / "kernels"


def files(folder: Path) -> list[Path]:
    """Everything in the cache but its ledger."""
    return [p for p in folder.rglob("*") if p.is_file() and p != folder / eviction.LEDGER]


def compiled() -> tuple[image.Image, Path]:
    made, path = compiler.get_image(REF, TYPES, CONSTANTS, host())
    return made, Path(path)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each compilation."""
    from openxpu.compiler import compile as module

    original, seen = module.compile_kernel, []

    def counted(ref: str, *arguments: object) -> object:
        seen.append(ref)
        return original(ref, *arguments)

    monkeypatch.setattr(module, "compile_kernel", counted)
    return seen


def test_the_second_time_is_read(folder: Path, compilations: list[str]) -> None:
    first, path = compiled()
    assert path.is_relative_to(folder)
    again, _ = compiled()
    assert again == first
    assert len(compilations) == 1
    assert files(folder) == [path]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "header only": lambda data: data[:20],
    "half": lambda data: data[: len(data) // 2],
    "last byte lost": lambda data: data[:-1],
    "one bit": lambda data: data[:-100] + bytes([data[-100] ^ 4]) + data[-99:],
    "bit in the metadata": lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:],
    "zeros": lambda data: bytes(len(data)),
    "text": lambda data: b"not a kernel " * 50,
    "another format": lambda data: data[:8] + b"\x09" + data[9:],
    "more at the end": lambda data: data + b"x",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_compiled_again(name: str, folder: Path, compilations: list[str]) -> None:
    first, path = compiled()
    good = path.read_bytes()
    path.write_bytes(DAMAGE[name](good))
    again, _ = compiled()
    assert again.metadata == first.metadata
    assert len(compilations) == 2
    assert image.read(path).elf == again.elf, "the file must be mended"
    compiled()
    assert len(compilations) == 2


def test_an_image_of_another_machine_is_not_loaded(folder: Path, compilations: list[str]) -> None:
    first, path = compiled()
    foreign = dataclasses.replace(first, metadata={**first.metadata, "target": "another machine"})
    image.write(path, foreign)
    again, _ = compiled()
    assert again.metadata["target"] == host().key
    assert len(compilations) == 2


def test_machines_have_different_keys() -> None:
    targets = [
        X86_64_V3,
        X86_64_V4,
        dataclasses.replace(X86_64_V4, features=X86_64_V4.features | {"avx512bf16"}),
    ]
    assert len({cache.key(REF, TYPES, CONSTANTS, target) for target in targets}) == 3
    assert cache.key(REF, TYPES, CONSTANTS, host()) == cache.key(REF, TYPES, dict(CONSTANTS), host())


def test_whatever_decides_the_code_is_in_the_key() -> None:
    keys = {
        cache.key(ref, types, constants, host())
        for ref, types, constants in [
            (REF, TYPES, CONSTANTS),
            ("creation.other", TYPES, CONSTANTS),
            (REF, ["*i32", *TYPES[1:]], CONSTANTS),
            (REF, TYPES, {"BLOCK": 128}),
            (REF, TYPES, {"BLOCK": 64.0}),
            (REF, TYPES, {"BLOCK": True}),
            (REF, TYPES, {"BLOCK": 1}),
        ]
    }
    assert len(keys) == 7


def test_imports_between_kernel_files_are_seen_as_python_sees_them() -> None:
    """The key reads imports from the text; this reads them from the syntax tree."""
    for file in cache.KERNELS.glob("*.py"):
        expected: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                expected |= {a.name.rpartition(".")[2] for a in node.names if "ops.kernels" in a.name}
            elif isinstance(node, ast.ImportFrom) and (node.level or "ops.kernels" in (node.module or "")):
                origin = (node.module or "").rpartition("ops.kernels")[2].strip(".")
                expected |= {origin} if origin else {a.name for a in node.names}
        assert cache.imported(file.stem) == expected, file.name
        assert file.stem not in cache.imported(file.stem)


def test_only_what_a_kernel_reads_is_in_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = tmp_path / "kernels"
    shutil.copytree(cache.KERNELS, copied)
    monkeypatch.setattr(cache, "KERNELS", copied)
    chosen = {"FN": "function:activation.gelu"}
    kernels = {"arange": (REF, CONSTANTS), "apply": ("pointwise.contiguous", chosen)}

    def keys() -> dict[str, str]:
        cache.imported.cache_clear()
        cache.module_digest.cache_clear()
        return {name: cache.key(ref, TYPES, constants, host()) for name, (ref, constants) in kernels.items()}

    try:
        before = keys()
        for edited, changed in {
            "elementary": {"arange", "apply"},
            "activation": {"apply"},
            "suppression": set(),
        }.items():
            with (copied / f"{edited}.py").open("a") as file:
                file.write("# edited\n")
            after = keys()
            assert {name for name in kernels if after[name] != before[name]} == changed, edited
            before = after
    finally:
        cache.imported.cache_clear()
        cache.module_digest.cache_clear()


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compilations: list[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OPENXPU_CACHE_DIR", str(tmp_path / "file"))
    compiled()
    compiled()
    assert len(compilations) == 2


def test_rests_of_a_killed_process_are_not_read(folder: Path, compilations: list[str]) -> None:
    _, path = compiled()
    data = path.read_bytes()
    path.unlink()
    (path.parent / (path.name + "abc123.part")).write_bytes(data[: len(data) // 2])
    compiled()
    assert len(compilations) == 2


TOGETHER = """
import sys
from openxpu.ops import creation
print("ready", flush=True)
sys.stdin.readline()
print(creation.arange(0, 1000, 1).numpy().sum(), flush=True)
"""


def test_two_processes_compile_the_same_kernel_at_once(folder: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
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
            assert float(out) == 499500
    finally:
        for process in processes:
            process.kill()
            process.wait()
    found = files(folder)
    assert found
    for file in found:
        assert file.suffix == ".oxk", f"{file} was left behind"
        image.read(file)
