# What Paddle's distributed package lacks on custom devices, each put in place right after its module was imported.

from __future__ import annotations

from openxpu.paddle import after_import
from openxpu.paddle.distributed import experts, groups, meshes, messages, offload, programs, spawn


def install() -> None:
    """Patches what is there already and waits for the rest."""
    after_import.install(
        {
            "paddle.distributed.auto_parallel.process_mesh": meshes.patch,
            "paddle.distributed.auto_parallel.static.process_group": programs.patch,
            "paddle.distributed.collective": groups.patch,
            "paddle.distributed.communication.batch_isend_irecv": messages.patch_batches,
            "paddle.distributed.fleet.meta_parallel.pp_utils.p2p_communication": messages.patch_pipeline,
            "paddle.distributed.fleet.meta_parallel.sharding.group_sharded_optimizer_stage2": offload.patch,
            "paddle.distributed.spawn": spawn.patch,
            "paddle.distributed.utils.moe_utils": experts.patch_exchange,
            "paddle.distributed.models.moe.utils": experts.patch_gates,
        }
    )
