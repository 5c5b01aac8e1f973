# Launching a compiled kernel: on which stream, after what, and whether the caller waits.
"""The rule (docs/triton.md):

- card arrays: on the current stream of their card, asynchronously;
- Paddle tensors: on Paddle's current stream, asynchronously, like Paddle's own operators;
- both: on Paddle's stream, with the array's stream before and after it;
- host memory (torch, NumPy, Paddle on the CPU): the launch returns when the kernel has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from triton.backends.driver import decompose_descriptor, expand_signature

from openxpu import _runtime
from openxpu.compiler import image
from openxpu.compiler.profiling import remember
from openxpu.runtime import Stream, current_device
from openxpu.triton.arguments import Kind, kind_of
from openxpu.triton.descriptor import Described

# Arguments of launches on host memory whose wait was interrupted: the kernel may still be using them.
abandoned: list[Any] = []


@dataclass(frozen=True)
class Function:
    """A kernel image in memory."""

    name: str
    entry: int
    scratch_bytes: int
    loaded: Any = field(repr=False, compare=False)  # keeps the code mapped


def load(data: bytes) -> Function:
    """Loads a kernel image and hands the texts of its assertions to the run time."""
    found = image.unpack(data)
    loaded = _runtime.load_image(found.elf)
    metadata = found.metadata
    entry = loaded.symbol(metadata["symbol"])
    _runtime.set_assert_messages(entry, metadata["messages"])
    remember(entry, metadata)
    return Function(metadata["name"], entry, metadata["scratch_bytes"], loaded)


def _card_of(arrays: Sequence[Any], paddle_tensors: Sequence[Any]) -> int:
    cards = {array.device.id for array in arrays}
    cards |= {card for tensor in paddle_tensors if (card := _runtime.card_at(tensor.data_ptr())) >= 0}
    if len(cards) > 1:
        names = ", ".join(f"xpu:{card}" for card in sorted(cards))
        raise ValueError(
            f"The arguments of one launch lie on several cards ({names}); copy them to one card first."
        )
    return cards.pop() if cards else current_device().id


def enqueue(
    launcher: _runtime.Launcher, grid: Sequence[int], values: Sequence[Any], stream: Any = None
) -> None:
    """Launches by the rule above, whatever the arguments are; `stream` overrides the choice of the stream."""
    kinds = [kind_of(type(value)) for value in values]
    arrays = [v for v, kind in zip(values, kinds, strict=True) if kind is Kind.ARRAY]
    paddle_tensors = [v for v, kind in zip(values, kinds, strict=True) if kind is Kind.PADDLE]
    wait = Kind.HOST in kinds
    try:
        _enqueue(launcher, grid, values, kinds, arrays, paddle_tensors, wait, stream)
    except KeyboardInterrupt:
        abandoned.append(values)
        raise


def _enqueue(
    launcher: _runtime.Launcher,
    grid: Sequence[int],
    values: Sequence[Any],
    kinds: Sequence[Kind],
    arrays: Sequence[Any],
    paddle_tensors: Sequence[Any],
    wait: bool,
    stream: Any,
) -> None:
    values = [
        v.data_ptr() if kind in (Kind.PADDLE, Kind.HOST) else v for v, kind in zip(values, kinds, strict=True)
    ]
    if isinstance(stream, Stream):
        stream = stream.native
    if isinstance(stream, _runtime.Stream):
        launcher(stream, wait, grid, *values)
        return
    current = _runtime.card(_card_of(arrays, paddle_tensors)).current_stream
    if not paddle_tensors:
        launcher(current, wait, grid, *values)
        return
    from openxpu.paddle.streams import stream_of

    stream = stream_of(*(tensor.data_ptr() for tensor in paddle_tensors))
    if arrays:
        _join(stream, current)
    launcher(stream, wait, grid, *values)
    if arrays:
        _join(current, stream)


def _join(later: _runtime.Stream, earlier: _runtime.Stream) -> None:
    if later.handle != earlier.handle:
        event = _runtime.Event()
        earlier.record(event)
        later.wait(event)


# ---- arguments that are several -------------------------------------------------------------------


def _is_descriptor(type_: Any) -> bool:
    return isinstance(type_, str) and type_.startswith("tensordesc")


def _flat_types(signature: Iterable[Any]) -> list[str]:
    types: list[str] = []
    for type_ in signature:
        if isinstance(type_, tuple):
            types += _flat_types(type_)
        else:
            types.append(type_)
    return types


def _flat_values(signature: Iterable[Any], values: Iterable[Any]) -> list[Any]:
    flat: list[Any] = []
    for type_, value in zip(signature, values, strict=True):
        if isinstance(type_, tuple):
            flat += _flat_values(type_, value)
        elif _is_descriptor(type_):
            base, *sizes = decompose_descriptor(value)
            flat += [base.argument if isinstance(base, Described) else base, *sizes]
        else:
            flat.append(value)
    return flat


class KernelLauncher:
    """What Triton calls to launch a kernel (its `launcher_cls`), once for each specialisation.

    native   the run time's launcher, for the fast path; takes the flat arguments"""

    def __init__(
        self, source: Any, metadata: Any, installed: Callable[[Any], None] = lambda function: None
    ) -> None:
        self.signature = tuple(source.signature.values())
        self.types = _flat_types(expand_signature(self.signature, None, None))
        self.flat = len(self.types) == len(self.signature) and not any(map(_is_descriptor, self.signature))
        self._launchers: dict[Function, _runtime.Launcher] = {}
        function = getattr(source, "fn", None)
        if function is not None:
            installed(function)

    def native(self, function: Function) -> _runtime.Launcher:
        """The run time's launcher of a loaded kernel."""
        found = self._launchers.get(function)
        if found is None:
            found = _runtime.Launcher(function.name, function.entry, function.scratch_bytes, self.types)
            self._launchers[function] = found
        return found

    def __call__(
        self,
        x: int,
        y: int,
        z: int,
        stream: Any,
        function: Function,
        packed_metadata: Any,
        launch_metadata: Any,
        enter_hook: Any,
        exit_hook: Any,
        *values: Any,
    ) -> None:
        if enter_hook is not None:
            enter_hook(launch_metadata)
        if not self.flat:
            values = tuple(_flat_values(self.signature, values))
        enqueue(self.native(function), (x, y, z), values, stream)
        if exit_hook is not None:
            exit_hook(launch_metadata)
