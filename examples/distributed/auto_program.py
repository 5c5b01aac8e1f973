# The model of auto_parallel.py as a program of each card, made by dist.to_static: Paddle plans all exchanges beforehand.
# python -m paddle.distributed.launch --devices 0,1 auto_program.py 2
import auto_parallel
import gpt
import paddle
import paddle.distributed as dist


class Batches(paddle.io.Dataset):
    def __len__(self):
        return gpt.STEPS * gpt.BATCH

    def __getitem__(self, i):
        tokens, labels = gpt.rows(i // gpt.BATCH)
        return tokens[i % gpt.BATCH], labels[i % gpt.BATCH]


if __name__ == "__main__":
    mesh, model, optimizer = auto_parallel.build()
    loader = paddle.io.DataLoader(Batches(), batch_size=gpt.BATCH)
    loader = dist.shard_dataloader(loader, mesh, shard_dims="data")
    program = dist.to_static(model, loader, gpt.Loss(), optimizer)
    program.train()
    for step, (tokens, labels) in enumerate(loader()):
        loss = program(tokens, labels)  # of this card's rows
        gpt.report(step, paddle.to_tensor(loss), dist.get_group())
