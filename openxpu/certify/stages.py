"""The stages of a model's certification. Each gets the run's state, raises StageFailed with a sentence, or returns what it found.

The order is that of TIPC: forward, training, training in bf16, export, inference, other sizes; then what was counted."""

from __future__ import annotations

import gc
import itertools
import json
import math
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openxpu.models.registry import Batch, Model

STEPS = 10
# Of the largest value: f32 sums in another order, through up to a few hundred layers.
FORWARD = 1e-3
INFERENCE = 1e-3
LOSSES = 2e-2  # relative, after STEPS steps that amplify differences
MEASURED = 0.5  # seconds of inference in turn, at least three rounds
LARGE = 16 << 20  # bytes of an array that is kept in a file
ROUNDING = 2.0**-23  # what a weight is moved by to see how much a model amplifies rounding
TRIES = 8  # of that
AMPLIFIED = 4.0  # the card rounds every sum, and that experiment only the weights
FALLS = 0.99  # the last loss beside the first: those of boxes in pixels are large and fall slowly
DROPS = (
    "drop_prob",
    "drop",
    "drop_rate",
    "drop_connect_rate",
    "dropout",
    "dropout_rate",
)  # as layers call it that drop by themselves
RISES = 0.02  # of the first loss, from one step to the next: more is a jump, and where losses jump, rounding decides where to
# What is tried until a model learns: parts of its learning rate, and of the batch. A batch normalisation of two values has a sign left of
# each, which no rate calms: where losses jump, more samples are tried too.
FASTER = ((4.0, 1), (16.0, 1), (0.25, 1))
CALMER = ((0.25, 1), (1.0, 2), (0.25, 2), (0.0625, 2), (0.0625, 1), (4.0, 1), (16.0, 1))
SLOWER = (1.0, 0.25, 0.0625)  # of that, where losses differ
BF16 = (1.0, 4.0, 0.25)  # of that too: rounding takes from small steps, and large ones jump


class StageFailed(Exception):
    """A stage did not hold; the message says what was expected and what was found."""


@dataclass
class Run:
    """What the stages share."""

    model: Model
    batch_size: int
    seed: int
    folder: Path
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: list[np.ndarray] = field(default_factory=list)  # of the card, eager
    losses: list[float] = field(default_factory=list)  # of the card, f32
    rate: float = 1.0  # of the model's own learning rate
    more: int = 1  # batches in one for training
    shapes: tuple[str, ...] = ()  # of a user's own model, as given to --input
    folded: Counter[str] = field(
        default_factory=Counter
    )  # operators on constants, which Paddle runs on the CPU while it loads a program

    @property
    def data(self) -> Any:
        return self.model.data


@contextmanager
def device(name: str) -> Iterator[None]:
    """Makes `name` Paddle's current device and puts the CPU back afterwards."""
    import paddle

    paddle.set_device(name)
    try:
        yield
    finally:
        paddle.set_device("cpu")


def wait(where: str) -> None:
    if where != "cpu":
        import openxpu

        openxpu.synchronize()


def flat(outputs: Any) -> list[Any]:
    """The tensors of a result, in order."""
    if isinstance(outputs, dict):
        return [t for name in sorted(outputs) for t in flat(outputs[name])]
    if isinstance(outputs, list | tuple):
        return [t for part in outputs for t in flat(part)]
    return [outputs] if hasattr(outputs, "numpy") else []


def arrays(outputs: Any) -> list[np.ndarray]:
    return [t.astype("float32").numpy() if "float16" in str(t.dtype) else t.numpy() for t in flat(outputs)]


def tensors(batch: Batch) -> Batch:
    """The batch on the current device."""
    import paddle

    return {
        name: paddle.to_tensor(value) if isinstance(value, np.ndarray) else value
        for name, value in batch.items()
    }


def built(run: Run) -> Any:
    """The model with the run's weights, on the current device, without dropout (its masks differ from device to device)."""
    import paddle

    gc.collect()  # an optimizer and its model are a cycle, and what was trained before would stay
    paddle.seed(run.seed)
    model = run.model.build()
    if run.weights:
        model.set_state_dict(run.weights)
    for layer in model.sublayers(include_self=True):
        names = DROPS if "Drop" not in type(layer).__name__ else ("p", *DROPS)
        for attribute in names:
            if isinstance(getattr(layer, attribute, None), float):
                setattr(layer, attribute, 0.0)
    return model


def move(model: Any, part: float, seed: int) -> None:
    """Moves each weight by that part of itself, up or down."""
    rng = np.random.default_rng(seed)
    for weight in model.parameters():
        value = weight.numpy()
        signs = rng.choice(np.array([-part, part]), value.shape)
        weight.set_value((value * (1.0 + signs)).astype(value.dtype))


@contextmanager
def widened(model: Any, wide: bool) -> Iterator[Callable[[Batch], Batch]]:
    """The model in f64 if it is to be `wide`, and what it is called with likewise."""
    import paddle

    def cast(batch: Batch) -> Batch:
        if not wide:
            return batch
        return {
            name: value.astype("float64") if getattr(value, "dtype", None) == paddle.float32 else value
            for name, value in batch.items()
        }

    before = paddle.get_default_dtype()
    if wide:
        model.to(dtype="float64")
        paddle.set_default_dtype("float64")
    try:
        yield cast
    finally:
        paddle.set_default_dtype(before)


def eager(
    run: Run, batch: Batch, where: str, jitter: float = 0.0, seed: int = 0, wide: bool = False
) -> list[np.ndarray]:
    """What the model itself, not a program of it, makes of a batch. `jitter`: with weights that are moved by that part of themselves;
    `wide`: in f64."""
    import paddle

    with device(where), paddle.no_grad():
        model = built(run)
        if jitter:
            move(model, jitter, seed)
        model.eval()
        with widened(model, wide) as cast:
            return arrays(called(model, run, cast(tensors(batch))))


def difference(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The largest difference, in units of each result's largest value; infinite where shapes or NaN differ."""
    if len(found) != len(wanted):
        return math.inf
    worst = 0.0
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape:
            return math.inf
        if not a.size:
            continue
        x, y = a.astype(np.float64), b.astype(np.float64)
        if not np.array_equal(np.isfinite(x), np.isfinite(y)):
            return math.inf
        good = np.isfinite(y)
        if good.any():
            worst = max(worst, float(np.abs(x - y)[good].max() / max(np.abs(y)[good].max(), 1e-6)))
    return worst


def called(model: Any, run: Run, batch: Batch) -> Any:
    names = run.data.inputs if model.training else run.data.asked
    return model(*(batch[name] for name in names))


# ---- (a) forward --------------------------------------------------------------------------------------


def forward(run: Run) -> dict[str, Any]:
    """Eager inference on the card beside the CPU, in f32."""
    batch = run.data.make(run.batch_size, run.seed)
    with device("cpu"):
        model = built(run)
        run.weights = _kept(run, model)
        parameters = sum(math.prod(p.shape) for p in model.parameters())
        wanted, seconds = _evaluated(model, run, batch, "cpu")
        del model
    with device("xpu"):
        run.outputs, own = _evaluated(built(run), run, batch, "xpu")
    worst = difference(run.outputs, wanted)
    found: dict[str, Any] = {}
    if not worst <= FORWARD and _settle(run, batch):
        found["unsettled_difference"] = worst
        wanted, run.outputs = eager(run, batch, "cpu"), eager(run, batch, "xpu")
        worst = difference(run.outputs, wanted)
    if not worst <= FORWARD:
        found["moved_by_rounding"] = _rounding(run, batch, wanted, worst, "cpu")
        if not worst <= AMPLIFIED * found["moved_by_rounding"]:
            raise StageFailed(
                f"The results differ by {worst:.2g} of the largest value, {FORWARD:.0e} is allowed. {first_layer_apart(run, batch)}"
            )
    found |= {"difference": worst, "parameters": parameters}
    return found | {"cpu_ms": seconds * 1e3, "card_ms": own * 1e3}


def _kept(run: Run, model: Any) -> dict[str, np.ndarray]:
    """The values of a model, the large ones in files: training one of a billion parameters takes four times its weights of memory, and
    there may be no room for a fifth."""
    found: dict[str, np.ndarray] = {}
    folder = Path(tempfile.mkdtemp(prefix="weights-", dir=run.folder))
    for number, (name, value) in enumerate(model.state_dict().items()):
        array = value.numpy()
        if array.nbytes >= LARGE:
            np.save(folder / f"{number}.npy", array)
            array = np.load(folder / f"{number}.npy", mmap_mode="c")
        else:
            array = array.copy()
        found[name] = array
    return found


def _settle(run: Run, batch: Batch) -> bool:
    """Gives the run's batch normalisations the statistics of this batch, on the CPU; False where the model has none.

    Those of a random start are 0 and 1 whatever comes in: values grow from block to block, and rounding with them. A model that
    was trained has statistics of its data."""
    import paddle

    with device("cpu"), paddle.no_grad():
        model = built(run)
        layers = [
            layer for layer in model.sublayers() if hasattr(layer, "_mean") and hasattr(layer, "_momentum")
        ]
        if not layers:
            return False
        for layer in layers:
            layer._momentum = 0.0
        model.train()
        called(model, run, tensors(batch))
        run.weights = _kept(run, model)
    return True


def _evaluated(
    model: Any, run: Run, batch: Batch, where: str, rounds: int = 3
) -> tuple[list[np.ndarray], float]:
    import paddle

    model.eval()
    given = tensors(batch)
    times = []
    with paddle.no_grad():
        outputs = called(model, run, given)
        found = arrays(outputs)
        for _ in range(rounds):
            start = time.perf_counter()
            called(model, run, given)
            wait(where)
            times.append(time.perf_counter() - start)
    return found, statistics.median(times)


def first_layer_apart(run: Run, batch: Batch) -> str:
    """Names the first layer whose result differs, by how much; its inputs were still alike."""
    import paddle

    def recorded(where: str) -> list[tuple[str, list[np.ndarray]]]:
        seen: list[tuple[str, list[np.ndarray]]] = []
        with device(where), paddle.no_grad():
            model = built(run)
            model.eval()
            for name, layer in model.named_sublayers():
                if not layer.sublayers():

                    def keep(layer: Any, _: Any, output: Any, name: str = name) -> None:
                        seen.append((f"{name} ({type(layer).__name__})", arrays(output)))

                    layer.register_forward_post_hook(keep)
            called(model, run, tensors(batch))
        return seen

    for (name, wanted), (_, found) in zip(recorded("cpu"), recorded("xpu"), strict=False):
        if (worst := difference(found, wanted)) > FORWARD:
            return f"The first layer that differs is {name}, by {worst:.2g} of its largest value."
    return "No single layer differs by as much; what the model does between its layers does."


# ---- (b, c) training ----------------------------------------------------------------------------------


def momentum(run: Run, model: Any) -> Any:
    """The optimizer that every training of a certification uses."""
    import paddle

    return paddle.optimizer.Momentum(
        run.rate * run.model.learning_rate,
        0.9,
        parameters=model.parameters(),
        grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
    )


def trained(
    run: Run, where: str, amp: bool = False, jitter: float = 0.0, wide: bool = False
) -> tuple[list[float], float]:
    """Losses of STEPS steps on one batch, and the seconds of a step. `jitter` moves each weight by that part of itself, up or down;
    `wide`: the model in f64, the loss of its results in f32."""
    import paddle

    batch = run.data.make(run.more * run.batch_size, run.seed)
    losses, times = [], []
    with device(where):
        model = built(run)
        if jitter:
            move(model, jitter, run.seed)
        model.train()
        with widened(model, wide) as cast:
            optimizer = momentum(run, model)
            given = tensors(batch)
            for _ in range(STEPS):
                start = time.perf_counter()
                with paddle.amp.auto_cast(enable=amp, dtype="bfloat16", level="O1"):
                    outputs = called(model, run, cast(given))
                loss = run.data.loss(narrowed(outputs) if wide else outputs, given)
                loss.backward()
                optimizer.step()
                optimizer.clear_grad()
                losses.append(float(loss.item()))
                times.append(time.perf_counter() - start)
    return losses, statistics.median(times[2:])


def narrowed(outputs: Any) -> Any:
    """The same with f32 in the place of f64."""
    if isinstance(outputs, dict):
        return {name: narrowed(part) for name, part in outputs.items()}
    if isinstance(outputs, list | tuple):
        return type(outputs)(narrowed(part) for part in outputs)
    return outputs.astype("float32") if "float64" in str(getattr(outputs, "dtype", "")) else outputs


def training(run: Run) -> dict[str, Any]:
    """Ten steps on one batch: the losses of the CPU, and they fall."""
    wanted, seconds = _learned(run)
    fastest, failure = run.rate, None
    for slower in SLOWER:
        if slower < 1.0:  # losses that jump follow rounding: smaller steps tell more about the card
            run.rate = fastest * slower
            wanted, seconds = trained(run, "cpu")
            if not falls(wanted):
                continue
        try:
            return _compared(run, wanted, seconds)
        except StageFailed as error:
            failure = failure or error
    run.rate = fastest
    assert failure is not None
    raise failure


def _learned(run: Run) -> tuple[list[float], float]:
    """The CPU's losses, and its seconds of a step, at the first learning rate and batch at which they fall without a jump; where there is
    none, at the first at which they fall. Sets `run.rate` and `run.more`."""
    fallen: dict[tuple[float, int], tuple[list[float], float]] = {}
    ways = [(1.0, 1)]
    for run.rate, run.more in ways:
        if fallen and run.rate > 1.0:
            break  # larger steps do not calm
        losses, seconds = trained(run, "cpu")
        if len(ways) == 1:
            ways += CALMER if jumps(losses) else FASTER
        if not falls(losses):
            continue
        if not jumps(losses):
            return losses, seconds
        fallen[run.rate, run.more] = losses, seconds
    if not fallen:
        raise StageFailed(
            f"The loss does not fall on one batch, on the CPU either: {losses[0]:.4g} to {losses[-1]:.4g} at the last of the "
            f"learning rates {', '.join(f'{rate * run.model.learning_rate:.2g}' for rate, _ in ways)}."
        )
    run.rate, run.more = next(iter(fallen))
    return fallen[run.rate, run.more]


def _compared(run: Run, wanted: list[float], seconds: float) -> dict[str, Any]:
    """The card's losses beside those of the CPU."""
    run.losses, own = trained(run, "xpu")
    apart, allowed = _apart(run.losses, wanted), [LOSSES] * STEPS
    found: dict[str, Any] = {}
    if max(apart) > LOSSES:
        # Small batches make some models amplify rounding: how far the CPU's own losses are from those in f64, and what they do when
        # weights differ in their last bit.
        moved = _apart(trained(run, "cpu", jitter=ROUNDING)[0], wanted)
        if max(apart) > AMPLIFIED * max(moved):
            moved = list(
                map(
                    max,
                    moved,
                    _wide(lambda: _apart(wanted, trained(run, "cpu", wide=True)[0]), [0.0] * STEPS),
                )
            )
        found["moved_by_rounding"] = max(moved)
        allowed = [LOSSES + AMPLIFIED * max(moved[: i + 1]) for i in range(STEPS)]
    if wrong := [i for i in range(STEPS) if not apart[i] <= allowed[i]]:
        step = wrong[0]
        raise StageFailed(
            f"The loss of step {step + 1} is {run.losses[step]:.6g} on the card and {wanted[step]:.6g} on the CPU; "
            f"{100 * allowed[step]:.2g} % of difference is allowed."
        )
    if not falls(run.losses):
        raise StageFailed(
            f"The loss does not fall on one batch: {run.losses[0]:.4g} to {run.losses[-1]:.4g}."
        )
    rate = run.rate * run.model.learning_rate
    found |= {"losses": run.losses, "difference": max(apart), "learning_rate": rate}
    found["samples"] = run.more * run.batch_size
    return found | {"cpu_ms": seconds * 1e3, "card_ms": own * 1e3}


def falls(losses: list[float]) -> bool:
    return all(map(math.isfinite, losses)) and losses[-1] <= FALLS * losses[0]


def jumps(losses: list[float]) -> bool:
    return not all(after - before <= RISES * abs(losses[0]) for before, after in itertools.pairwise(losses))


def _apart(losses: list[float], wanted: list[float]) -> list[float]:
    """The relative differences; infinite where a loss is not finite."""
    pairs = zip(losses, wanted, strict=True)
    return [abs(a - b) / max(abs(b), 1e-3) if math.isfinite(a) else math.inf for a, b in pairs]


def amp(run: Run) -> dict[str, Any]:
    """The same with automatic mixed precision in bf16: finite, and it falls."""
    own = run.rate
    for factor in BF16:
        run.rate = own * factor
        losses, seconds = trained(run, "xpu", amp=True)
        if not all(math.isfinite(loss) for loss in losses):
            raise StageFailed(f"A loss is not finite: {losses}.")
        if losses[-1] < losses[0]:
            rate = run.rate * run.model.learning_rate
            return {"losses": losses, "learning_rate": rate, "card_ms": seconds * 1e3}
    raise StageFailed(f"The loss does not fall in bf16: {losses[0]:.4g} to {losses[-1]:.4g}.")


# ---- (d, e, f) export, inference, other sizes -----------------------------------------------------------


def _specification(run: Run) -> list[Any]:
    import paddle

    batch = run.data.make(run.batch_size, run.seed)
    specs = []
    for name in run.data.asked:
        shape = list(batch[name].shape)
        for axis in run.data.dynamic.get(name, (0,)):
            shape[axis] = -1
        specs.append(paddle.static.InputSpec(shape, str(batch[name].dtype), name))
    return specs


def export(run: Run) -> dict[str, Any]:
    """paddle.jit.save on the card, and the same results when it is loaded again."""
    import paddle

    batch = run.data.make(run.batch_size, run.seed)
    for where in (
        "cpu",
        "xpu",
    ):  # each with the operators that it has: a program of a card may have flash attention
        with device(where), paddle.no_grad():
            model = built(run)
            model.eval()
            paddle.jit.save(model, str(run.folder / where / "model"), input_spec=_specification(run))
    with device("xpu"), paddle.no_grad():
        loaded = paddle.jit.load(str(run.folder / "xpu" / "model"))
        loaded.eval()
        found = arrays(called(loaded, run, tensors(batch)))
    worst = difference(found, run.outputs)
    if not worst <= INFERENCE:
        raise StageFailed(f"The program that was loaded again differs by {worst:.2g} from the model.")
    size = sum(p.stat().st_size for p in (run.folder / "xpu").glob("model*"))
    return {"difference": worst, "bytes": size}


def predictor(run: Run, card: bool, onednn: bool = True, passes: bool = True) -> Any:
    """Paddle Inference of the program that was exported on the card or on the CPU."""
    from paddle import inference

    from openxpu.paddle import counters

    folder = run.folder / ("xpu" if card else "cpu")
    config = inference.Config(str(folder / "model.json"), str(folder / "model.pdiparams"))
    if card:
        config.enable_custom_device("xpu", 0)
    elif not onednn:
        config.disable_mkldnn()
    config.switch_ir_optim(passes)
    config.disable_glog_info()
    before = Counter(counters.fallbacks())
    made = inference.create_predictor(config)
    run.folded.update(Counter(counters.fallbacks()) - before)
    return made


def _reference(run: Run, batch: Batch) -> Any:
    """Paddle Inference on the CPU, after one round, as Paddle 3.3.1 can run the program.

    It has no way to hand attributes that are doubles to oneDNN (the scales of an interpolation, which is an error), and some of its
    passes for the CPU fail on programs with a free extent."""
    ways: list[dict[str, bool]] = [{}, {"onednn": False}, {"onednn": False, "passes": False}]
    if _ends_onednn(json.loads((run.folder / "cpu" / "model.json").read_text())):
        del ways[0]
    near: list[tuple[float, Any]] = []
    for options in ways:
        try:
            peer = predictor(run, False, **options)
            worst = difference(_served(peer, batch, run.data.asked), run.outputs)
            if worst <= INFERENCE:
                return peer
            near.append((worst, peer))
            failure = f"it differs by {worst:.2g} from the eager model"
        except (NotImplementedError, ValueError, RuntimeError) as error:
            failure = str(error)[:500]
    for worst, peer in near:  # its passes compute in another order too
        if worst <= AMPLIFIED * _rounding(run, batch, run.outputs, worst, "cpu"):
            return peer
    raise StageFailed(
        f"Paddle Inference on the CPU, which the card's speed is set against, fails: {failure}."
    )


def _ends_onednn(program: Any) -> bool:
    """Whether a program, or a part of it, has what ends the process of Paddle 3.3.1 in oneDNN: the slope of a leaky ReLU, a double, after
    a convolution, and a batch normalisation without scale or shift (value 0 is none)."""
    if isinstance(program, list):
        return any(map(_ends_onednn, program))
    if not isinstance(program, dict):
        return False
    kind = str(program.get("#", ""))
    if "leaky_relu" in kind:
        return True
    if kind.endswith(".batch_norm_") and any(operand.get("%") == 0 for operand in program.get("I", ())):
        return True
    return any(map(_ends_onednn, program.values()))


def _served(found: Any, batch: Batch, inputs: tuple[str, ...]) -> list[np.ndarray]:
    for name, value in zip(found.get_input_names(), (batch[n] for n in inputs), strict=True):
        handle = found.get_input_handle(name)
        handle.reshape(value.shape)
        handle.copy_from_cpu(np.ascontiguousarray(value))
    found.run()
    return [found.get_output_handle(name).copy_to_cpu() for name in found.get_output_names()]


def infer(run: Run) -> dict[str, Any]:
    """Paddle Inference on the card, for one and for several samples: the results of the eager model."""
    own = predictor(run, True)
    wanted = run.outputs
    batch = run.data.make(run.batch_size, run.seed)
    worst = difference(_served(own, batch, run.data.asked), wanted)
    free = all(0 in run.data.dynamic.get(name, (0,)) for name in run.data.asked)
    single = run.data.make(1 if free else run.batch_size, run.seed + 1)
    alone = eager(run, single, "xpu")
    worst = max(worst, difference(_served(own, single, run.data.asked), alone))
    found: dict[str, Any] = {}
    if not worst <= INFERENCE:
        # Passes compute in another order. Without them the results have to be the same, and with them within what rounding does.
        plain = predictor(run, True, passes=False)
        moved = max(_moved(run, plain, batch, wanted, worst), _moved(run, plain, single, alone, worst))
        if not worst <= AMPLIFIED * moved:
            raise StageFailed(f"Paddle Inference differs by {worst:.2g} from the eager model.")
        found = {"moved_by_rounding": moved}
    times: dict[bool, list[float]] = {True: [], False: []}
    peers = {True: own, False: _reference(run, batch)}
    begin = time.perf_counter()
    while len(times[True]) < 3 or (len(times[True]) < 50 and time.perf_counter() - begin < MEASURED):
        for card, peer in peers.items():  # in turn, because the machine's speed drifts
            start = time.perf_counter()
            _served(peer, batch, run.data.asked)
            times[card].append(time.perf_counter() - start)
    found |= {"difference": worst, "card_ms": statistics.median(times[True]) * 1e3}
    return found | {"cpu_ms": statistics.median(times[False]) * 1e3}


def _moved(run: Run, plain: Any, batch: Batch, wanted: list[np.ndarray], found: float) -> float:
    """`_rounding` on the card. Raises StageFailed where `plain`, the program without passes, does not give the model's results."""
    exact = difference(_served(plain, batch, run.data.asked), wanted)
    if not exact <= INFERENCE:
        raise StageFailed(
            f"Paddle Inference differs by {exact:.2g} from the eager model, without passes too."
        )
    return _rounding(run, batch, wanted, found, "xpu")


def _rounding(run: Run, batch: Batch, wanted: list[np.ndarray], found: float, where: str) -> float:
    """How far rounding moves the model's results, until that explains `found`: how far those of the CPU are from those in f64, and what
    they do when weights differ in their last bit."""
    moved: float = _wide(
        lambda: difference(eager(run, batch, "cpu"), eager(run, batch, "cpu", wide=True)), 0.0
    )
    for seed in range(TRIES):
        if found <= AMPLIFIED * moved:
            break
        moved = max(moved, difference(eager(run, batch, where, ROUNDING, seed), wanted))
    return moved


def _wide(measured: Callable[[], Any], otherwise: Any) -> Any:
    """What f64 shows, or `otherwise` for a model that has f32 within it, which Paddle does not mix."""
    try:
        return measured()
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        return otherwise


def sizes(run: Run) -> dict[str, Any] | None:
    """The exported program, served on the card, on inputs of another size, beside the eager model on the CPU."""
    if run.data.other is None:
        return None
    batch = run.data.other(run.batch_size, run.seed)
    found = _served(predictor(run, True), batch, run.data.asked)
    # The eager model: Paddle's own predictor, with oneDNN, gives wrong numbers for some programs at another size.
    worst = difference(found, eager(run, batch, "cpu"))
    if worst <= FORWARD:
        return {"difference": worst}
    moved = _moved(run, predictor(run, True, passes=False), batch, eager(run, batch, "xpu"), worst)
    if not worst <= AMPLIFIED * moved:
        shapes = ", ".join(f"{n} {list(batch[n].shape)}" for n in run.data.asked)
        raise StageFailed(f"On {shapes} the card differs by {worst:.2g} from the CPU.")
    return {"difference": worst, "moved_by_rounding": moved}


def _multi_card(run: Run) -> dict[str, Any]:
    from openxpu.certify.cards import multi_card

    return multi_card(run)


STAGES: dict[str, Callable[[Run], dict[str, Any] | None]] = {
    "forward": forward,
    "training": training,
    "amp": amp,
    "export": export,
    "infer": infer,
    "sizes": sizes,
    "multi-card": _multi_card,
}
NEEDS = {"infer": ("export",), "sizes": ("export",), "export": ("forward",)}
MODES = {
    "lite-train-lite-infer": ("forward", "training", "export", "infer"),
    "whole-infer": ("forward", "export", "infer", "sizes"),
    "amp": ("forward", "amp"),
    "all": ("forward", "training", "amp", "export", "infer", "sizes"),
    "multi-card": ("multi-card",),
}
