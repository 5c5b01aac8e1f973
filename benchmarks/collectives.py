"""Collectives between 2, 4 and 8 ranks on this machine: OpenXPU beside Gloo (in torch) and MPI libraries, by size.

Every peer's ranks are started once and sleep between orders, so that the peers take turns in one run; all buffers lie in
memory that was used before. MPI takes part where `--mpi` names folders with `mpicc` and `mpirun` (`mpich` and `openmpi` can
be had as Python packages too, each in an environment of its own). OpenXPU is called from C++, as Paddle does, MPI from C, Gloo from Python. The
bound is what memory allows: all ranks together read and write each byte of their tensors once, at the bandwidth of copies
by all cores. `--write` puts the results into docs/collectives.json and docs/distributed.md; `--render` only writes the page
again."""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers

OPERATIONS = ("all_reduce", "all_gather", "reduce_scatter", "broadcast", "all_to_all")
SIZES = (8, 1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 23, 1 << 26, 1 << 28)
BUDGET = 0.03  # seconds of one sample, about
LARGE = 1 << 26  # from here on, fewer samples
MARKS = ("<!-- collectives: python -m benchmarks.collectives --write -->", "<!-- end of collectives -->")


# ---- torch's Gloo, called from Python -----------------------------------------------------------------


def _serve(pipe: Any, make: Any, ranks: int, rank: int, rendezvous: Any) -> None:
    """Takes orders (operation, bytes, repeats) and answers with the seconds of one call."""
    try:
        run = make(ranks, rank, rendezvous)
        pipe.send("ready")
        while (order := pipe.recv()) is not None:
            call = None  # its buffers go first
            call, barrier = run(*order[:2])
            call()
            barrier()
            begin = time.perf_counter()
            for _ in range(order[2]):
                call()
            pipe.send((time.perf_counter() - begin) / order[2])
    except BaseException as error:
        pipe.send(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        raise


def _gloo(ranks: int, rank: int, rendezvous: str) -> Any:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=ranks)

    def run(operation: str, size: int) -> Any:
        count = size // 4
        part = max(1, count // ranks)
        all_parts = ranks * part
        made: dict[str, Any] = {
            "all_reduce": lambda x, _: dist.all_reduce(x),
            "all_gather": lambda x, out: dist.all_gather_into_tensor(out, x),
            "reduce_scatter": lambda x, out: dist.reduce_scatter_tensor(out, x),
            "broadcast": lambda x, _: dist.broadcast(x, 0),
            "all_to_all": lambda x, out: dist.all_to_all_single(out, x),
        }
        shapes = {
            "all_gather": (part, all_parts),
            "reduce_scatter": (all_parts, part),
            "all_to_all": (all_parts, all_parts),
        }
        x, out = (torch.full((n,), 0.0) for n in shapes.get(operation, (count, 0)))
        return functools.partial(made[operation], x, out), dist.barrier

    return run


class PythonRanks:
    """Ranks of `make`, each a process that waits for orders on a pipe."""

    def __init__(self, make: Any, ranks: int, folder: str) -> None:
        context = multiprocessing.get_context("spawn")
        os.environ["OMP_NUM_THREADS"] = "1"
        self.pipes, self.processes = [], []
        for rank in range(ranks):
            here, there = context.Pipe()
            arguments = (there, make, ranks, rank, f"{folder}/rendezvous-{make.__name__}-{ranks}")
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            self.pipes.append(here)
            self.processes.append(process)
        self._answers()

    def _answers(self) -> list[Any]:
        found = [pipe.recv() for pipe in self.pipes]
        for answer in found:
            if isinstance(answer, Exception):
                raise answer
        return found

    def seconds(self, operation: str, size: int, repeats: int) -> float:
        for pipe in self.pipes:
            pipe.send((operation, size, repeats))
        return float(max(self._answers()))

    def close(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join(10)
            if process.is_alive():
                process.kill()


# ---- ours, called from C++ ----------------------------------------------------------------------------


class OwnRanks:
    """benchmarks/collectives.cc, which calls what Paddle's plug-in calls."""

    def __init__(self, ranks: int, scratch: str) -> None:
        import openxpu

        library, sources = Path(openxpu.__file__).parent / "lib", peers.ROOT / "csrc"
        program = Path(scratch) / "collectives"
        command = ["c++", "-std=c++17", "-O2", "-o", str(program), str(Path(__file__).with_suffix(".cc"))]
        command += [f"-I{sources / 'runtime'}", f"-I{sources / 'collectives'}"]
        command += [f"-L{library}", "-lopenxpu", f"-Wl,-rpath,{library}"]
        subprocess.run(command, check=True)
        environment = os.environ | {"OPENXPU_ARENA": "shared", "OPENXPU_CARDS": str(ranks)}
        self.children = [
            subprocess.Popen(
                [str(program), str(ranks), str(rank)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env=environment,
            )
            for rank in range(ranks)
        ]  # fmt: skip
        assert self.children[0].stdout
        self._tell(self.children[0].stdout.readline())
        self._answers()

    def _tell(self, line: str) -> None:
        for child in self.children:
            assert child.stdin
            child.stdin.write(line)
            child.stdin.flush()

    def _answers(self) -> list[str]:
        found = [child.stdout.readline().strip() for child in self.children if child.stdout]
        if not all(found):
            raise RuntimeError("A rank of benchmarks/collectives.cc has ended; its words are above.")
        return found

    def seconds(self, operation: str, size: int, repeats: int) -> float:
        self._tell(f"{operation} {size} {repeats}\n")
        return max(map(float, self._answers()))

    def close(self) -> None:
        for child in self.children:
            assert child.stdin
            child.stdin.close()
        for child in self.children:
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


# ---- MPI -------------------------------------------------------------------------------------------


class MpiRanks:
    """benchmarks/mpi_collectives.c under an MPI library's mpirun."""

    def __init__(self, folder: Path, ranks: int, scratch: str) -> None:
        program = Path(scratch) / f"mpi-{folder.parent.name}"
        if not program.exists():
            source = Path(__file__).with_name("mpi_collectives.c")
            subprocess.run([str(folder / "mpicc"), "-O2", "-o", str(program), str(source)], check=True)
        command = [str(folder / "mpirun"), "-n", str(ranks), str(program)]
        environment, own_core = dict(os.environ), ranks <= len(os.sched_getaffinity(0))
        version = subprocess.run(
            [command[0], "--version"], capture_output=True, text=True, check=False
        ).stdout
        if "Open MPI" in version or "open-mpi" in version:
            # Ranks that have no core of their own give it up while they wait (--oversubscribe sees to it).
            command[1:1] = ["--oversubscribe", "--bind-to", "core" if own_core else "none"]
            environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        elif own_core:
            command[1:1] = ["-bind-to", "core"]
        else:  # MPICH's collectives through shared memory poll without giving the core up: milliseconds a call
            environment.update(
                MPIR_CVAR_ALLREDUCE_POSIX_INTRA_ALGORITHM="mpir", MPIR_CVAR_BCAST_POSIX_INTRA_ALGORITHM="mpir"
            )
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def seconds(self, operation: str, size: int, repeats: int) -> float:
        assert self.child.stdin
        assert self.child.stdout
        self.child.stdin.write(f"{operation} {size} {repeats}\n")
        self.child.stdin.flush()
        return float(self.child.stdout.readline())

    def close(self) -> None:
        assert self.child.stdin
        self.child.stdin.write("end 0 0\n")
        self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()


# ---- all works -------------------------------------------------------------------------------------


def _copy(seconds: float, out: Any) -> None:
    source, target = np.ones(1 << 25), np.ones(1 << 25)
    end, count = time.perf_counter() + seconds, 0
    begin = time.perf_counter()
    while time.perf_counter() < end:
        np.copyto(target, source)
        count += 1
    out.put(2 * source.nbytes * count / (time.perf_counter() - begin))


def copy_bandwidth(seconds: float = 2.0) -> float:
    """Bytes read and written in a second by copies on all cores."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    cores = len(os.sched_getaffinity(0))
    processes = [context.Process(target=_copy, args=(seconds, queue)) for _ in range(cores)]
    for process in processes:
        process.start()
    total = sum(queue.get() for _ in processes)
    for process in processes:
        process.join()
    return float(total)


def moved(operation: str, size: int, ranks: int) -> float:
    """Bytes that all ranks together have to read and write."""
    part = size / ranks
    return {
        "all_reduce": 2.0 * size * ranks,
        "all_gather": 2.0 * size * ranks,
        "reduce_scatter": (size + part) * ranks,
        "broadcast": 2.0 * size * (ranks - 1),
        "all_to_all": 2.0 * size * ranks,
    }[operation]


def name_of(folder: Path) -> str:
    return folder.parent.name.removeprefix("mpi-")


def measure(
    ranks: int,
    works: list[tuple[str, int]],
    mpi: list[Path],
    rounds: int,
    quick: bool,
    keep: Callable[[dict[str, Any]], None],
) -> None:
    """Gives each (operation, bytes) of `works` to `keep` as soon as it is measured."""
    from rich.progress import track

    if not works:
        return
    with tempfile.TemporaryDirectory() as scratch:
        running: dict[str, Any] = {peers.OURS: OwnRanks(ranks, scratch)}
        try:
            if peers.PEERS["torch"].missing is None:
                running["gloo"] = PythonRanks(_gloo, ranks, scratch)
            for folder in mpi:
                running[name_of(folder)] = MpiRanks(folder, ranks, scratch)
            for operation, size in track(works, f"{ranks} ranks", transient=True):
                samples: dict[str, list[float]] = {name: [] for name in running}
                repeats = {}
                for name, peer in running.items():
                    repeats[name], once = 1, peer.seconds(operation, size, 1)
                    if not quick and once < BUDGET / 10:  # one call says little where ranks share cores
                        once = max(once, peer.seconds(operation, size, 5))
                        repeats[name] = max(1, min(2000, int(BUDGET / max(once, 1e-6))))
                    if repeats[name] == 1:  # as good a sample as the others
                        samples[name].append(once)
                turns = min(rounds, 2) if size >= LARGE else rounds
                for turn in range(turns):
                    for name in list(running)[:: 1 if turn % 2 == 0 else -1]:
                        if len(samples[name]) < turns:
                            once = running[name].seconds(operation, size, repeats[name])
                            samples[name].append(once)
                            # Ranks that wait for each other's time slices: the next sample need not take as long.
                            repeats[name] = max(1, min(repeats[name], int(4 * BUDGET / max(once, 1e-6))))
                ours = samples[peers.OURS]
                keep(
                    {
                        "ranks": ranks,
                        "operation": operation,
                        "bytes": size,
                        "microseconds": 1e6 * statistics.median(ours),
                        "moved": moved(operation, size, ranks),
                        "ratios": {
                            name: statistics.median(b / a for a, b in zip(ours, found, strict=True))
                            for name, found in samples.items()
                            if name != peers.OURS
                        },
                    }
                )
        finally:
            for peer in running.values():
                peer.close()


# ---- what is shown ---------------------------------------------------------------------------------


def amount(size: int) -> str:
    for unit, factor in (("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= factor:
            return f"{size // factor} {unit}"
    return f"{size} B"


def duration(microseconds: float) -> str:
    return f"{microseconds:.3g} us" if microseconds < 1000 else f"{microseconds / 1000:.3g} ms"


def render(found: dict[str, Any]) -> str:
    """The table of docs/distributed.md."""
    works = {(row["operation"], row["bytes"], row["ranks"]): row for row in found["works"]}
    ranks = sorted({key[2] for key in works})
    names = list(found["works"][0]["ratios"])
    rates = [row.get("copy_bytes_per_second", found["copy_bytes_per_second"]) for row in found["works"]]
    words = {"gloo": "Gloo in torch", "mpich": "MPICH", "openmpi": "Open MPI"}
    lines = [
        f"{peers.describe(found['machine'])} Copies by all cores read and write "
        f"{min(rates) / 1e9:.0f} to {max(rates) / 1e9:.0f} GB/s together, depending on the moment. In each column: the time of one call, how much of the "
        f"bound that is, and the times of {', '.join(words.get(n, n) for n in names)} divided by it (above 1 OpenXPU is faster).",
        "",
        "| operation | bytes | " + " | ".join(f"{n} ranks" for n in ranks) + " |",
        "|---|--:|" + "---|" * len(ranks),
    ]
    for operation in OPERATIONS:
        for size in sorted({key[1] for key in works}):
            cells = []
            for n in ranks:
                row = works.get((operation, size, n))
                if row is None:
                    cells.append("")
                    continue
                ratios = " / ".join(f"{row['ratios'][name]:.2g}" for name in names)
                share = f", {100 * row['of_bound']:.0f} %" if size >= 1 << 20 else ""
                cells.append(f"{duration(row['microseconds'])}{share}; {ratios}")
            lines.append(f"| {operation} | {amount(size)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(found: dict[str, Any]) -> None:
    (peers.ROOT / "docs" / "collectives.json").write_text(json.dumps(found, indent=1) + "\n")
    page = peers.ROOT / "docs" / "distributed.md"
    before, _, rest = page.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page.write_text(f"{before}{MARKS[0]}\n{render(found)}\n{MARKS[1]}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--write", action="store_true", help="write docs/collectives.json and the table")
    parser.add_argument("--render", action="store_true", help="write the table from docs/collectives.json")
    parser.add_argument("--quick", action="store_true", help="two sizes, one round: does everything run?")
    parser.add_argument("--ranks", default="2,4,8")
    parser.add_argument("--mpi", default="", help="folders with mpicc and mpirun, separated by commas")
    parser.add_argument("--sizes", default="", help="bytes, separated by commas, in place of the usual ones")
    parser.add_argument("--limit", type=int, default=1 << 28, help="bytes of the largest size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--resume", default="", help="a file that keeps each result; what it has is not measured again"
    )
    options = parser.parse_args()
    if options.render:
        write(json.loads((peers.ROOT / "docs" / "collectives.json").read_text()))
        return
    sizes = [int(s) for s in options.sizes.split(",") if s] or [s for s in SIZES if s <= options.limit]
    if options.quick and not options.sizes:
        sizes = [8, 1 << 17]
    mpi = [Path(f) for f in options.mpi.split(",") if f]
    for folder in mpi:
        if not (folder / "mpicc").exists():
            raise SystemExit(f"--mpi names {folder}, which has no mpicc")
    warnings = os.environ.get("PYTHONWARNINGS", "ignore::FutureWarning")  # torch's, of its older names
    os.environ["PYTHONWARNINGS"] = warnings
    rows: list[dict[str, Any]] = []
    begun = Path(options.resume) if options.resume else None
    if begun is not None and begun.exists():
        found = json.loads(begun.read_text())
        bandwidth, rows = found["copy_bytes_per_second"], found["works"]
    else:
        bandwidth = copy_bandwidth()
    found = {"machine": peers.machine(), "copy_bytes_per_second": bandwidth, "works": rows}

    def keep(row: dict[str, Any]) -> None:
        # The bandwidth of a machine that others use too changes within minutes: large ones have that of their moment.
        now = copy_bandwidth(0.3) if row["bytes"] >= 1 << 20 else bandwidth
        row["copy_bytes_per_second"] = now
        row["of_bound"] = row["moved"] / now / (row["microseconds"] * 1e-6)
        rows.append(row)
        if begun is not None:
            aside = begun.with_suffix(".new")
            aside.write_text(json.dumps(found))
            aside.replace(begun)

    for ranks in map(int, options.ranks.split(",")):
        there = {(row["operation"], row["bytes"]) for row in rows if row["ranks"] == ranks}
        works = [(o, s) for s in sizes for o in OPERATIONS if (o, s) not in there]
        measure(ranks, works, mpi, 1 if options.quick else options.rounds, options.quick, keep)
    if options.write:
        write(found)
    if options.json:
        json.dump(found, sys.stdout)
        return
    print(peers.describe(peers.machine()))
    print(f"copies on all cores read and write {bandwidth / 1e9:.1f} GB/s together\n")
    for row in rows:
        ratios = "  ".join(f"{name} {ratio:6.2f}x" for name, ratio in row["ratios"].items())
        print(
            f"{row['ranks']} ranks  {row['operation']:15} {row['bytes']:>10} B {row['microseconds']:12.1f} us"
            f"  {100 * row['of_bound']:4.0f} % of bound  {ratios}"
        )


if __name__ == "__main__":
    main()
