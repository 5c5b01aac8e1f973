# A group of ranks and its collectives over arrays in card memory.
from __future__ import annotations

from collections.abc import Sequence

from openxpu import _runtime, environment, transport
from openxpu.runtime.array import Array, empty
from openxpu.runtime.device import Device, as_device
from openxpu.runtime.stream import Stream


def unique_id(address: str | None = None) -> bytes:
    """What joins the ranks of one group: made by rank 0, given to all, used once.

    Where ranks are on several machines, `address` (OPENXPU_ADDRESS by default) is rank 0's, which the others reach: a
    name or numbers. Raises Error when it is not this machine's."""
    return _runtime.make_unique_id(environment.address() if address is None else address)


class Group:
    """`ranks` ranks that call the same collectives in the same order; this process is `rank`.

    All calls return at once: the work is enqueued on `stream`, the card's current one by default, and a failure is raised
    as LaunchError where that stream is waited for. (Up to 1 MB the caller does the work itself where its stream is idle and
    the other ranks come within some ten microseconds.) After a failure the group raises Error at every call. Arrays are
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

    @property
    def name(self) -> str:
        """What `openxpu smi` and errors call this group."""
        return self._communicator.name

    def path(self, peer: int) -> str:
        """How this rank reaches a peer's card memory: "self", "process" or "memory" (docs/distributed.md)."""
        return self._communicator.path(peer)

    def all_reduce(
        self, x: Array, op: str = "sum", out: Array | None = None, stream: Stream | None = None
    ) -> Array:
        """op over the ranks' x: "sum", "prod", "min", "max" or "avg"; in place with out=x."""
        if out is None:
            out = empty(x.shape, x.dtype, self.device)
        self._communicator.all_reduce(x, out, op, stream.native if stream else None)
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
        if self.rank != root:
            out = None
        elif out is None:
            out = empty(x.shape, x.dtype, self.device)
        self._communicator.reduce(x, out, op, root, stream.native if stream else None)
        return out

    def broadcast(self, x: Array, root: int = 0, stream: Stream | None = None) -> Array:
        """x becomes rank `root`'s x, on all ranks, in place."""
        self._communicator.broadcast(x, root, stream.native if stream else None)
        return x

    def all_gather(self, x: Array, out: Array | None = None, stream: Stream | None = None) -> Array:
        """The ranks' x, one after the other: (ranks, *x.shape)."""
        if out is None:
            out = empty((self.ranks, *x.shape), x.dtype, self.device)
        self._communicator.all_gather(x, out, stream.native if stream else None)
        return out

    def reduce_scatter(
        self, x: Array, op: str = "sum", out: Array | None = None, stream: Stream | None = None
    ) -> Array:
        """Part `rank` of op over the ranks' x, of shape (ranks, ...): an array of shape x.shape[1:]."""
        if not x.shape or x.shape[0] != self.ranks:
            raise ValueError(
                f"reduce_scatter takes an array whose first dimension is the number of ranks, {self.ranks}; "
                f"this one has the shape {x.shape}"
            )
        if out is None:
            out = empty(x.shape[1:], x.dtype, self.device)
        self._communicator.reduce_scatter(x, out, op, stream.native if stream else None)
        return out

    def all_to_all(
        self, inputs: Sequence[Array], outputs: Sequence[Array], stream: Stream | None = None
    ) -> Sequence[Array]:
        """inputs[p] goes to rank p, outputs[p] comes from it; sizes may differ."""
        self._communicator.all_to_all(inputs, outputs, stream.native if stream else None)
        return outputs

    def barrier(self, stream: Stream | None = None) -> None:
        """Work that is enqueued later begins when all ranks have come here."""
        self._communicator.barrier(stream.native if stream else None)

    def send(self, x: Array, to: int, stream: Stream | None = None) -> None:
        """Buffered: does not wait for the receiver. The sends to one rank arrive in their order."""
        self._communicator.send(x, to, stream.native if stream else None)

    def receive(self, out: Array, source: int, stream: Stream | None = None) -> Array:
        """Fills `out` with the next array from rank `source`, which has to have as many elements of its dtype."""
        self._communicator.receive(out, source, stream.native if stream else None)
        return out
