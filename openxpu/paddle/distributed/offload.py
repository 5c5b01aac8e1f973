# Sharding of stage 2 with offload: the first step's gradients are scaled back as well.
"""With offload, gradients are collected in a buffer on the host. Paddle shows that buffer to the optimizer at the end of the
first step; what scales gradients back and looks for infinities asks the optimizer before, and finds nothing."""

from __future__ import annotations

import functools
from typing import Any


def patch(module: Any) -> None:
    """After paddle.distributed.fleet.meta_parallel.sharding.group_sharded_optimizer_stage2."""
    sharded = module.GroupShardedOptimizerStage2
    original = sharded.__init__

    @functools.wraps(original)
    def init(self: Any, *arguments: Any, **keywords: Any) -> None:
        original(self, *arguments, **keywords)
        if self.offload and self.offload_params and not isinstance(self._optim._param_groups[0], dict):
            self._optim._parameter_list = self._optim._param_groups = [self.offload_params.buffer]

    sharded.__init__ = init
