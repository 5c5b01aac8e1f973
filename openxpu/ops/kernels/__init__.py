# Triton kernels of the operator library; imported only by the compiler, when a kernel is not in the cache.
