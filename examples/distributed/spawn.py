# Data parallel without the launcher: the program starts its own ranks, one for each card.
# OPENXPU_CARDS=2 python spawn.py
import data_parallel
import paddle
import paddle.distributed as dist

if __name__ == "__main__":
    paddle.set_device("xpu")
    dist.spawn(data_parallel.train)
