# Runs inside `import paddle`, when Paddle loads the plug-in: connects the planner and makes the name "xpu" work.
"""Everything that a program does not need for its first tensor is left for later: neither the compiler nor any
operator is imported here."""

from __future__ import annotations

import os


def boot() -> None:
    """Sets the planner and installs the naming shim."""
    from openxpu import _runtime, transport
    from openxpu.paddle import (
        dispatch,
        distributed,
        fused_layers,
        loader_workers,
        naming,
        numpy_scalars,
        optimizer_steps,
    )

    _runtime.set_planner(dispatch.plan)
    _runtime.set_dynamic_lookup(dispatch.dynamic_arguments)
    numpy_scalars.install()
    loader_workers.install()
    optimizer_steps.install()
    distributed.install()
    transport.announce()
    if os.environ.get("OPENXPU_NAMING", "1") != "0":
        naming.install()
        fused_layers.install()


boot()
