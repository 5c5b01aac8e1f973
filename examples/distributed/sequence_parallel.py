# Sequence parallel: tensor parallel, and between its layers every card holds some of the positions.
# python -m paddle.distributed.launch --devices 0,1 sequence_parallel.py
import gpt
import paddle
import paddle.distributed as dist
import paddle.nn.functional as F
from paddle import nn
from paddle.distributed import fleet
from paddle.distributed.fleet.utils import sequence_parallel_utils as sequence


class Block(gpt.Block):
    """Takes and returns [positions of this card, batch, width]; its linear layers gather and spread the positions."""

    def forward(self, x):
        batch, size = x.shape[1], gpt.WIDTH // gpt.HEADS
        heads = self.qkv(self.norm1(x)).reshape([gpt.LENGTH, batch, -1, 3, size])
        q, k, v = heads.transpose([1, 0, 2, 3, 4]).unbind(3)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose([1, 0, 2, 3])
        x = x + self.out(seen.reshape([gpt.LENGTH, batch, -1]))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Model(nn.Layer):
    def __init__(self):
        super().__init__()
        # The layers of gpt.py, made of linear layers that know about positions.
        gpt.widen = lambda n, m: sequence.ColumnSequenceParallelLinear(n, m, has_bias=True, gather_output=False)
        gpt.narrow = lambda n, m: sequence.RowSequenceParallelLinear(n, m, has_bias=True, input_is_parallel=True)
        self.embedding = gpt.Embedding()
        self.blocks = nn.Sequential(*(Block(number) for number in range(gpt.LAYERS)))
        self.head = gpt.Head()
        # A card sees its own positions only: gradients of these weights are parts of a sum.
        for name, weight in self.named_parameters():
            if "norm" in name:
                sequence.mark_as_sequence_parallel_parameter(weight)
        sequence.register_sequence_parallel_allreduce_hooks(self, 1, False)

    def forward(self, tokens):
        x = sequence.ScatterOp.apply(self.embedding(tokens).transpose([1, 0, 2]))
        return self.head(self.blocks(x)).transpose([1, 0, 2])


paddle.set_device("xpu")
strategy = fleet.DistributedStrategy()
strategy.hybrid_configs = {"dp_degree": 1, "mp_degree": dist.get_world_size(), "pp_degree": 1}
fleet.init(is_collective=True, strategy=strategy)
model = Model()
optimizer = fleet.distributed_optimizer(gpt.optimizer(model.parameters()))
model = fleet.distributed_model(model)
for step in range(gpt.STEPS):
    tokens, labels = gpt.batch(step)
    loss = gpt.Loss()(model(tokens), labels)
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    gpt.report(step, loss)
