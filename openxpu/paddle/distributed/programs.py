# Groups of ranks in programs (dist.to_static): a communicator for each, where the program's kernels look for it.
"""Paddle makes communicators of custom devices for its former executor, and its operator for barriers ends the process
without one of the present executor."""

from __future__ import annotations

import functools
from typing import Any

from openxpu.paddle import counters


def patch(module: Any) -> None:
    """After paddle.distributed.auto_parallel.static.process_group."""
    original = module.ProcessGroup.instantiate

    @functools.wraps(original)
    def instantiate(self: Any) -> None:
        here = module._get_global_env()
        if here.device_type != "xpu":
            original(self)
            return
        if not self._is_instantiate and self.nranks >= 2 and here.rank in self.ranks:
            core = module.core
            counters.plugin().openxpu_paddle_use_card(here.device_id)
            core.CommContextManager.set_device_id(here.device_id)
            core.CommContextManager.create_xccl_comm_context(
                core.create_or_get_global_tcp_store(), str(self.id), core.CustomPlace("xpu", here.device_id),
                self.local_rank(here.rank), self.nranks, "-".join(map(str, self.ranks)),
            )  # fmt: skip
            counters.plugin().openxpu_paddle_prepare_group(str(self.id).encode())
        self._is_instantiate = True

    module.ProcessGroup.instantiate = instantiate
    _patch_barrier(module.paddle)


def _patch_barrier(paddle: Any) -> None:
    """The barrier of all ranks by the group that paddle.distributed keeps."""
    original = paddle._legacy_C_ops.barrier

    @functools.wraps(original)
    def barrier(x: Any, out: Any, *attributes: Any) -> Any:
        if not x.place.is_custom_place() or attributes != ("ring_id", 0):
            return original(x, out, *attributes)
        paddle.distributed.barrier()
        return out

    paddle._legacy_C_ops.barrier = barrier
