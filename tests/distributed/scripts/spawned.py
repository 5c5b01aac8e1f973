# Ranks that the program starts itself; the argument says what they do.
import os
import signal
import sys
import time

import paddle
import paddle.distributed as dist


def program(what: str) -> None:
    dist.init_parallel_env()
    rank = dist.get_rank()
    x = paddle.full([3], rank + 1.0)
    dist.all_reduce(x)
    print(f"rank {rank} on {paddle.get_device()} has {x[0].item()}", flush=True)
    if rank == 1 and what == "raises":
        raise ValueError("rank 1 has no data")
    if rank == 1 and what == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "waits":
        time.sleep(1000)
    if what in {"raises", "dies"}:
        dist.all_reduce(x)
        paddle.device.xpu.synchronize()


if __name__ == "__main__":
    paddle.set_device("xpu")
    options = {"xpus": "2,3"} if sys.argv[1] == "last cards" else {}
    dist.spawn(program, (sys.argv[1],), nprocs=2, **options)
