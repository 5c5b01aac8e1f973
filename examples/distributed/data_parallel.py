# Data parallel: every card holds the model and takes a part of the batch. Without the launcher: one card.
# python -m paddle.distributed.launch --devices 0,1 data_parallel.py
import gpt
import paddle
import paddle.distributed as dist


def train():
    paddle.set_device("xpu")
    group = dist.init_parallel_env() if dist.get_world_size() > 1 else None
    model = gpt.model()
    optimizer = gpt.optimizer(model.parameters())
    if group is not None:
        model = paddle.DataParallel(model)
    for step in range(gpt.STEPS):
        tokens, labels = gpt.batch(step, dist.get_rank(), dist.get_world_size())
        loss = gpt.Loss()(model(tokens), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        gpt.report(step, loss, group)


if __name__ == "__main__":
    train()
