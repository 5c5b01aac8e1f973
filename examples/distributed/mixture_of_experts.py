# A mixture of experts: every card holds some of them and takes a part of the batch; tokens travel to their experts.
# python -m paddle.distributed.launch --devices 0,1 mixture_of_experts.py
import gpt
import paddle
import paddle.distributed as dist
from paddle import nn
from paddle.distributed import fleet
from paddle.distributed.fleet.utils.hybrid_parallel_util import fused_allreduce_gradients_with_group
from paddle.incubate.distributed.models.moe import MoELayer

EXPERTS = 4


class Block(gpt.Block):
    """A block whose second half is a mixture of two out of EXPERTS networks."""

    def __init__(self, number, group):
        super().__init__(number)
        cards, card = (group.nranks, group.rank) if group else (1, 0)
        mine = range(EXPERTS // cards * card, EXPERTS // cards * (card + 1))
        del self.up, self.down
        self.experts = MoELayer(
            gpt.WIDTH,
            nn.LayerList(self.expert(number, i) for i in mine),
            gate={"type": "naive", "top_k": 2},
            moe_group=group,
        )
        gpt.fill(self.experts.gate, f"block{number}.gate")

    def expert(self, number, i):
        network = nn.Sequential(
            nn.Linear(gpt.WIDTH, 2 * gpt.WIDTH), nn.GELU(), nn.Linear(2 * gpt.WIDTH, gpt.WIDTH)
        )
        gpt.fill(network, f"block{number}.expert{i}")
        for weight in network.parameters():
            weight.is_expert = True
        return network

    def forward(self, x):
        x = self.attend(x)
        return x + self.experts(self.norm2(x))


def train(group):
    """Losses of the steps; without a group, on one card."""
    cards, card = (group.nranks, group.rank) if group else (1, 0)
    blocks = (Block(number, group) for number in range(gpt.LAYERS))
    model = nn.Sequential(gpt.Embedding(), *blocks, gpt.Head())
    optimizer = gpt.optimizer(model.parameters())
    shared = [weight for weight in model.parameters() if not hasattr(weight, "is_expert")]
    losses = []
    for step in range(gpt.STEPS):
        tokens, labels = gpt.batch(step, card, cards)
        loss = gpt.Loss()(model(tokens), labels)
        # An expert has seen the tokens of all cards already; the other weights have seen this card's.
        (loss / cards).backward()
        if cards > 1:
            fused_allreduce_gradients_with_group(shared, group, scale=1.0)
        optimizer.step()
        optimizer.clear_grad()
        losses.append(gpt.report(step, loss, group))
    return losses


if __name__ == "__main__":
    paddle.set_device("xpu")
    if dist.get_world_size() > 1:
        fleet.init(is_collective=True)
    train(dist.new_group(list(range(dist.get_world_size()))) if dist.get_world_size() > 1 else None)
