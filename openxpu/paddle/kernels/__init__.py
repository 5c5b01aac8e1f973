# Mappings from phi kernels to openxpu.ops, one module for each group (csrc/paddle/kernels/<group>.inc).

from __future__ import annotations

from openxpu.paddle.kernels.registry import phi_kernel

__all__ = ["phi_kernel"]
