"""Every native phi kernel on a small and on a large shape, beside Paddle's CPU device and, where it has the same operator, torch.

The works are the rows of tests/ops/conformance: the call of a row, on tensors of its own shapes, and on the same grown to about
a million elements; with its gradient in a second work. torch runs the row's own call with `paddle` replaced by torch, and
counts only where the results agree. `python -m benchmarks.operators --only softmax,argsort` takes a part; the results
are kept in docs/operators-speed.json, which `openxpu ops` and docs/operators.md show."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import time
import types
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers

ROUND = 3e-3  # seconds of work in a sample, about
LARGE = 1 << 20  # elements of the largest input
SIZES = {"small": (False,), "large": (True,), "both": (False, True)}
CANDIDATES = 3  # ways to let a shape grow
SQUARE = {
    "flash_attn_unpadded",
    "roi_pool",
}  # the work grows with the square of the first dimension: less of it
PATIENCE = 2.0  # seconds of one call; what takes longer grows in another way
NAMES = (peers.OURS, "paddle", "paddle*", "torch")
SPEED = Path(__file__).parent.parent / "docs" / "operators-speed.json"


def conformance() -> Any:
    """The package with the rows."""
    sys.path[:0] = [str(peers.ROOT / "tests" / "ops")]
    import conformance.tables

    return conformance


# ---- one work, in a peer's process -----------------------------------------------------------------


def base(row: Any) -> Any:
    """The case that grows: two dimensions and more, about two thousand elements, f32 where the row has it."""
    from conformance.row import Case

    dtype = "f32" if "f32" in row.dtypes else row.dtypes[0]
    pairs = [(s, a) for s in row.shapes for a in row.attrs if row.valid(s, a)] + list(row.cases)
    found = [Case(row, dtype, s, a) for s, a in pairs]
    found = [c for c in found if c.numel > 0] or found

    def suits(case: Any) -> tuple[bool, int]:
        ranks = [len(s) for s in case.shapes if s is not None]
        return (bool(ranks) and max(ranks) >= 2, -abs(case.numel - 2000))

    return max(found, key=suits)


def grown(case: Any, candidate: int) -> Any:
    """The case with about LARGE elements: the first dimension of all inputs that share it, the last, or both."""
    from dataclasses import replace

    factor = -(-LARGE // max(case.numel, 1))
    if case.row.name in SQUARE:
        factor //= 16
    if factor <= 1:
        return case
    known = [s for s in case.shapes if s]
    if not known:
        return case
    first, last = known[0][0], known[0][-1]

    def grow(shape: Any) -> Any:
        if not shape:
            return shape
        extents = list(shape)
        if candidate == 0 and extents[0] == first:
            extents[0] *= factor
        elif candidate == 1 and extents[-1] == last:
            extents[-1] *= factor
        elif candidate == 2:
            side = max(2, round(factor ** (1 / len(extents))))
            extents = [n * side for n in extents]
        return tuple(extents)

    return replace(case, shapes=tuple(grow(s) for s in case.shapes))


RENAMED = {"axis": "dim", "x": "input", "y": "other"}
IN_TORCH = {
    "add_n": "sum", "conj": "conj_physical", "greater_equal": "ge", "greater_than": "gt", "less_equal": "le", "less_than": "lt",
    "not_equal": "ne", "equal": "eq", "concat": "cat", "mod": "remainder", "floor_mod": "remainder",
    "reverse": "flip", "max": "amax", "min": "amin", "swish": "silu", "hardswish": "hardswish", "roll": "roll",
}  # fmt: skip


class AsTorch:
    """Stands for `paddle` in a row's call: the same names in torch, with torch's names for the arguments."""

    def __init__(self, *modules: Any) -> None:
        self.modules = modules

    def __getattr__(self, name: str) -> Any:
        if name in ("nn", "functional", "linalg", "fft"):
            return self
        wanted = IN_TORCH.get(name, name)
        found = next((getattr(m, wanted) for m in self.modules if hasattr(m, wanted)), None)
        if found is None:
            raise LookupError(f"torch has no {name}")

        def call(*arguments: Any, **keywords: Any) -> Any:
            keywords.pop("name", None)
            return found(*arguments, **{RENAMED.get(k, k): v for k, v in keywords.items()})

        return call if callable(found) else found


def in_torch(call: Callable[..., Any]) -> Callable[..., Any]:
    """The row's call with torch in place of Paddle."""
    import torch

    stand_in = AsTorch(torch, torch.nn.functional, torch.linalg, torch.fft, torch.special)

    def replaced(value: Any) -> Any:
        if isinstance(value, types.FunctionType) and value.__module__.startswith("conformance.rows"):
            return converted(value)
        if isinstance(value, types.ModuleType) and value.__name__.split(".")[0] == "paddle":
            return stand_in
        if callable(value) and str(getattr(value, "__module__", "")).split(".")[0] == "paddle":
            return getattr(stand_in, value.__name__.lstrip("_"))
        return value

    def converted(function: Any) -> Any:
        cells = tuple(types.CellType(replaced(c.cell_contents)) for c in function.__closure__ or ())
        names: dict[str, Any] = {}
        made = types.FunctionType(function.__code__, names, function.__name__, function.__defaults__, cells)
        made.__kwdefaults__ = function.__kwdefaults__
        wanted = {*function.__code__.co_names, "__builtins__"}
        for code in function.__code__.co_consts:  # of functions inside it
            wanted |= set(getattr(code, "co_names", ()))
        names.update(
            {n: replaced(v) for n, v in function.__globals__.items() if n in wanted and v is not function}
        )
        return made

    return replaced(call)  # type: ignore[no-any-return]


def same(ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
    return len(ours) == len(theirs) and all(
        a.shape == tuple(b.shape) and np.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)
        for a, b in zip(ours, theirs, strict=True)
    )


def work(peer: str, row: str, large: bool, gradient: bool, candidate: int) -> Callable[[], float]:
    """Seconds of one call of a row, in a peer's process."""
    signal.alarm(
        120 if peer == peers.OURS else 20
    )  # ends this process, also out of a kernel; ours compiles first
    try:
        return prepared(peer, row, large, gradient, candidate)
    finally:
        signal.alarm(0)


def prepared(peer: str, row: str, large: bool, gradient: bool, candidate: int) -> Callable[[], float]:
    package = conformance()
    from conformance import engine

    case = base(next(r for r in package.tables.ROWS if r.name == row))
    case = grown(case, candidate) if large else case
    arrays = engine.inputs_of(case)
    call = case.row.call
    keywords = dict(case.attrs)
    if case.row.typed:
        keywords["dtype"] = engine.PADDLE[case.dtype]
    if peer == "torch":
        import paddle
        import torch

        paddle.set_device("cpu")
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        torch.set_grad_enabled(gradient)  # of this process, which earlier works have set
        wanted = [t.numpy() for t in engine.flat(call(*(_paddle(a, False) for a in arrays), **keywords))]
        call = in_torch(call)
        tensors: list[Any] = [None if a is None else torch.from_numpy(np.array(a)) for a in arrays]
        with torch.no_grad():
            results = engine.flat(call(*tensors, **keywords))
        own = {t.untyped_storage().data_ptr() for t in tensors if t is not None and t.numel()}
        if any(t.untyped_storage().data_ptr() in own for t in results):
            raise LookupError("torch's result is a view of its argument")
        found = [t.numpy() for t in results]
        if not same(wanted, found):
            raise LookupError("torch's operator of this name is another one")
        for given, tensor in zip(case.row.inputs, tensors, strict=True):
            if gradient and tensor is not None and tensor.is_floating_point() and given.grad:
                tensor.requires_grad_(True)
        differentiate, synchronize = torch.autograd.grad, lambda: None
    else:
        import paddle

        paddle.set_device("xpu" if peer == peers.OURS else "cpu")
        tensors = [_paddle(a, gradient and i.grad) for a, i in zip(arrays, case.row.inputs, strict=True)]
        differentiate = paddle.grad

        def wait() -> None:
            import openxpu

            openxpu.synchronize()

        synchronize = wait if peer == peers.OURS else lambda: None

    if not gradient:
        once = lambda: call(*tensors, **keywords)  # noqa: E731
    else:
        wished = [t for t in tensors if t is not None and _wants(t)]
        seeds: list[Any] = []

        def once() -> Any:
            outputs = [t for t in engine.flat(call(*tensors, **keywords)) if _wants(t)]
            if not outputs:
                raise LookupError("no result has a gradient")
            if not seeds:
                seeds.extend(o.detach() * 0 + 1 for o in outputs)
            options = {"allow_unused": True}
            return differentiate(outputs, wished, seeds, **options)

    for _ in range(3):
        start = time.perf_counter()
        once()
        synchronize()
        took = time.perf_counter() - start
    if large and candidate < CANDIDATES - 1 and took > PATIENCE:
        raise LookupError(f"a call takes {took:.1f} s")
    repeat = max(1, min(1000, round(ROUND / max(took, 1e-6))))

    def sample() -> float:
        begin = time.perf_counter()
        for _ in range(repeat):
            once()
        synchronize()
        return (time.perf_counter() - begin) / repeat

    return sample


def _paddle(array: Any, gradient: bool) -> Any:
    import paddle
    from conformance import engine

    if array is None:
        return None
    place = paddle.CPUPlace() if paddle.device.get_device() == "cpu" else engine.card()
    tensor = engine.to_paddle(np.asarray(array, order="C"), place)
    if gradient and "float" in str(tensor.dtype):
        tensor.stop_gradient = False
    return tensor


def _wants(tensor: Any) -> bool:
    return bool(tensor.requires_grad) if hasattr(tensor, "requires_grad") else not tensor.stop_gradient


def _short(value: float | None) -> float | None:
    """With the digits that are worth keeping."""
    return None if value is None else float(f"{value:.4g}")


# ---- all works -------------------------------------------------------------------------------------


def measure(
    only: set[str],
    threads: int,
    rounds: int,
    sizes: Sequence[bool],
    known: Collection[str],
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """{work: {kernel, milliseconds, ratios}} for both shapes, forward and with gradients, but those known; `keep` is called after each row."""
    from rich.progress import track

    rows = [r for r in conformance().tables.ROWS if not only or r.kernel in only or r.group in only]
    import paddle

    if "xpu" not in paddle.device.get_all_custom_device_type():
        raise SystemExit(
            "Paddle finds no device xpu here: install OpenXPU, or set CUSTOM_DEVICE_ROOT to its plug-in"
        )
    names = [n for n in NAMES if peers.PEERS[n].missing is None]
    running: dict[str, Any] = {}
    found: dict[str, Any] = {}
    try:
        for row in track(rows, "operators", transient=True):
            for gradient in (False, True) if row.backward_dtypes else (False,):
                for large in sizes:
                    title = (
                        f"{row.name}{' with gradients' if gradient else ''}, {'large' if large else 'small'}"
                    )
                    if title in known:
                        continue
                    for candidate in range(CANDIDATES if large else 1):
                        for name in names:
                            if name not in running or running[name].child.poll() is not None:
                                running[name] = peers.Process(peers.PEERS[name], threads)
                        options = {
                            "row": row.name,
                            "large": large,
                            "gradient": gradient,
                            "candidate": candidate,
                        }
                        timed = peers.in_turn(
                            running,
                            names,
                            "benchmarks.operators:work",
                            options,
                            rounds,
                            rest=0.0 if threads == 1 else None,
                        )
                        by_peer = {r.peer: r for r in timed}
                        if running["paddle"].child.poll() is not None:
                            break  # it took too long
                        theirs = by_peer["paddle"]
                        if by_peer[peers.OURS].milliseconds is not None and (
                            theirs.milliseconds is not None or "(NotFound)" in theirs.note
                        ):
                            break
                    found[title] = {
                        "kernel": row.kernel,
                        "large": large,
                        "gradient": gradient,
                        "milliseconds": _short(by_peer[peers.OURS].milliseconds),
                        "ratios": {
                            r.peer: _short(r.against_ours)
                            for r in timed
                            if r.peer != peers.OURS and r.against_ours is not None
                        },
                        "notes": {
                            r.peer: r.note.splitlines()[0][:200]
                            for r in timed
                            if r.milliseconds is None and r.peer != "torch"
                        },
                    }
            keep(found)
    finally:
        for process in running.values():
            process.close()
    return found


def summary(found: dict[str, Any]) -> str:
    """Medians and the slowest, for both shapes."""
    lines = []
    for large in (True, False):
        for peer in NAMES[1:]:
            ratios = {
                t: w["ratios"][peer] for t, w in found.items() if w["large"] == large and peer in w["ratios"]
            }
            if not ratios:
                continue
            worst = sorted(ratios.items(), key=lambda item: item[1])[:8]
            slow = ", ".join(f"{title.rpartition(',')[0]} {ratio:.2f}" for title, ratio in worst)
            lines.append(
                f"{'large' if large else 'small'}, {peer} / openxpu: median {statistics.median(ratios.values()):.2f} "
                f"over {len(ratios)} works; slowest {slow}"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--only", default="", help="kernels or groups, separated by commas; the others are kept"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of each peer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", choices=("small", "large", "both"), default="both")
    parser.add_argument("--resume", action="store_true", help="leave out what is in the file already")
    parser.add_argument("--quick", action="store_true", help="one round, nothing is written")
    options = parser.parse_args()
    only = {name for name in options.only.split(",") if name}
    here = peers.machine()
    here["threads_per_peer"] = options.threads
    kept = (
        json.loads(SPEED.read_text())["works"]
        if (only or options.sizes != "both" or options.resume) and SPEED.exists()
        else {}
    )

    def keep(works: dict[str, Any]) -> None:
        if options.quick:
            return
        lines = [f"{json.dumps(t)}: {json.dumps(w)}" for t, w in sorted({**kept, **works}.items())]
        text = f'{{"machine": {json.dumps(here)},\n"works": {{\n' + ",\n".join(lines) + "\n}}\n"
        aside = SPEED.with_suffix(".new")
        aside.write_text(text)
        aside.replace(SPEED)

    rounds = 1 if options.quick else options.rounds
    known = kept if options.resume else ()
    found = measure(only, options.threads, rounds, SIZES[options.sizes], known, keep)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(peers.describe(here))
    for title, w in found.items():
        if w["milliseconds"] is None:
            print(f"{title:60} {' '.join(w['notes'].values())[:120]}")
            continue
        ratios = "  ".join(f"{peer} {ratio:6.2f}x" for peer, ratio in w["ratios"].items())
        print(f"{title:60} {w['milliseconds'] * 1e3:10.1f} us  {ratios}")
    print(summary(found))


if __name__ == "__main__":
    main()
