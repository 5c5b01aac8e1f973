# The place of a rank in a mesh under NumPy 2.4, which makes no number of an array with one element.

from __future__ import annotations

from typing import Any

import numpy as np


def _place(mesh: Any, dim: str | int | None, process_id: int) -> int:
    """The coordinate of a rank along a dimension of the mesh; -1 for a rank that is not in it."""
    if process_id not in mesh.process_ids:
        return -1
    if dim is None:
        return 0
    axis = dim if isinstance(dim, int) else mesh.dim_names.index(dim)
    return int(np.argwhere(np.asarray(mesh.mesh) == process_id)[0][axis])


def patch(module: Any) -> None:
    """After paddle.distributed.auto_parallel.process_mesh."""
    module.ProcessMesh.get_rank_by_dim_and_process_id = _place
