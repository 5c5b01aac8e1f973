# A group of ranks and its collectives over arrays in card memory.
from __future__ import annotations

from collections.abc import Sequence

from openxpu import _runtime, environment, transport
from openxpu.runtime.array import Array, empty
from openxpu.runtime.device import Device, as_device
from openxpu.runtime.stream import Stream, current_stream

OPERATIONS = ("sum", "prod", "min", "max", "avg")


def unique_id(address: str | None = None) -> bytes:
    """What joins the ranks of one group: made by rank 0, given to all, used once.

    Where ranks are on several machines, `address` (OPENXPU_ADDRESS by default) is rank 0's, which the others reach: a
    name or numbers. Raises Error when it is not this machine's."""
    return _runtime.make_unique_id(environment.address() if address is None else address)


class Group:
    """`ranks` ranks that call the same collectives in the same order; this process is `rank`.

    All calls return at once: the work is enqueued on `stream`, the card's current one by default, and a failure is raised
    as LaunchError where that stream is waited for. After a failure the group raises Error at every call. Arrays are
    contiguous and of this rank's card; dtypes are those of `Array`. f16 and bf16 are summed in f32 and rounded once. All
    ranks get the same bits, in every run. A rank that does not come within OPENXPU_COLLECTIVE_TIMEOUT seconds, dies,
    leaves or calls something else is named in the error, on every rank.

    Raises Error from the constructor when not all ranks join in time."""

    def __init__(
        self, unique_id: bytes, ranks: int, rank: int, device: Device | int | str | None = None
    ) -> None:
        transport.announce()
        self.device = as_device(device)
        self._communicator = _runtime.create_communicator(unique_id, ranks, rank, self.device.card)
        self.ranks, self.rank = ranks, rank

    def all_reduce(
        self, x: Array, op: str = "sum", out: Array | None = None, stream: Stream | None = None
    ) -> Array:
        """op over the ranks' x: "sum", "prod", "min", "max" or "avg"; in place with out=x."""
        out = self._output(x, x.shape, out)
        self._communicator.all_reduce(
            self._input(x), out.data_ptr(), x.size, x.dtype, self._op(op), self._on(stream)
        )
        return out

    def reduce(
        self,
        x: Array,
        root: int = 0,
        op: str = "sum",
        out: Array | None = None,
        stream: Stream | None = None,
    ) -> Array | None:
        """As all_reduce, for rank `root` only; None on the others."""
        mine = self.rank == root
        out = self._output(x, x.shape, out) if mine else None
        address = out.data_ptr() if out is not None else 0
        self._communicator.reduce(
            self._input(x), address, x.size, x.dtype, self._op(op), root, self._on(stream)
        )
        return out

    def broadcast(self, x: Array, root: int = 0, stream: Stream | None = None) -> Array:
        """x becomes rank `root`'s x, on all ranks, in place."""
        address = self._input(x)
        self._communicator.broadcast(address, address, x.size, x.dtype, root, self._on(stream))
        return x

    def all_gather(self, x: Array, out: Array | None = None, stream: Stream | None = None) -> Array:
        """The ranks' x, one after the other: (ranks, *x.shape)."""
        out = self._output(x, (self.ranks, *x.shape), out)
        self._communicator.all_gather(self._input(x), out.data_ptr(), x.size, x.dtype, self._on(stream))
        return out

    def reduce_scatter(
        self, x: Array, op: str = "sum", out: Array | None = None, stream: Stream | None = None
    ) -> Array:
        """Part `rank` of op over the ranks' x, of shape (ranks, ...): an array of shape x.shape[1:]."""
        if not x.ndim or x.shape[0] != self.ranks:
            raise ValueError(
                f"reduce_scatter takes an array whose first dimension is the number of ranks, {self.ranks}; "
                f"this one has the shape {x.shape}"
            )
        out = self._output(x, x.shape[1:], out)
        self._communicator.reduce_scatter(
            self._input(x), out.data_ptr(), out.size, x.dtype, self._op(op), self._on(stream)
        )
        return out

    def all_to_all(
        self, inputs: Sequence[Array], outputs: Sequence[Array], stream: Stream | None = None
    ) -> Sequence[Array]:
        """inputs[p] goes to rank p, outputs[p] comes from it; sizes may differ."""
        if len(inputs) != self.ranks or len(outputs) != self.ranks:
            raise ValueError(
                f"all_to_all takes an input and an output for each of {self.ranks} ranks; "
                f"given were {len(inputs)} and {len(outputs)}"
            )
        kinds = {a.dtype for a in (*inputs, *outputs)}
        if len(kinds) != 1:
            raise TypeError(f"all_to_all takes arrays of one dtype; given were {', '.join(sorted(kinds))}")
        self._communicator.all_to_all(
            [self._input(a) for a in inputs],
            [a.size for a in inputs],
            [self._input(a) for a in outputs],
            [a.size for a in outputs],
            kinds.pop(),
            self._on(stream),
        )
        return outputs

    def barrier(self, stream: Stream | None = None) -> None:
        """Work that is enqueued later begins when all ranks have come here."""
        self._communicator.barrier(self._on(stream))

    def send(self, x: Array, to: int, stream: Stream | None = None) -> None:
        """Buffered: does not wait for the receiver. The sends to one rank arrive in their order."""
        self._communicator.send(self._input(x), x.size, x.dtype, to, self._on(stream))

    def receive(self, out: Array, source: int, stream: Stream | None = None) -> Array:
        """Fills `out` with the next array from rank `source`, which has to have as many elements of its dtype."""
        self._communicator.receive(self._input(out), out.size, out.dtype, source, self._on(stream))
        return out

    def _on(self, stream: Stream | None) -> _runtime.Stream:
        return (stream or current_stream(self.device)).native

    def _op(self, op: str) -> str:
        if op not in OPERATIONS:
            raise ValueError(f"{op!r} is no reduction; known are {', '.join(OPERATIONS)}")
        return op

    def _input(self, x: Array) -> int:
        if not x.contiguous:
            raise ValueError("collectives take contiguous arrays; call clone() first")
        return x.data_ptr()

    def _output(self, x: Array, shape: tuple[int, ...], out: Array | None) -> Array:
        if out is None:
            return empty(shape, x.dtype, self.device)
        if out.shape != shape or out.dtype != x.dtype or not out.contiguous:
            raise ValueError(
                f"the output has to be a contiguous {x.dtype} array of shape {shape}; "
                f"given was {out.dtype} of shape {out.shape}"
            )
        return out
