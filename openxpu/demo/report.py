"""How the demo tells what happened: the table, the picture of the loss curves and the sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


def natively(part: dict[str, Any]) -> str:
    calls: dict[str, int] = part.get("native_calls", {})
    return f"{len(calls)} ({sum(calls.values()):,} calls)"


def fallbacks(part: dict[str, Any]) -> str:
    counts: dict[str, int] = part.get("fallbacks", {})
    if not counts:
        return "0"
    names = ", ".join(f"{name} x{count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
    return f"{sum(counts.values()):,} ({names})"


def served(part: dict[str, Any]) -> str:
    return (
        f"{part['served_equal']} of {part['held_out_images']}"
        f" (logits differ by at most {part['served_largest_difference']:.1e})"
    )


def digits_table(device: str, card: dict[str, Any], cpu: dict[str, Any] | None) -> Table:
    """The one table of part one; without the CPU run it has one column less."""
    table = Table(
        title="Handwritten digits: a small ResNet, trained, exported and served", title_justify="left"
    )
    table.add_column("")
    table.add_column(device, justify="right")
    if cpu is not None:
        table.add_column(
            f"Paddle CPU ({cpu['threads']} thread{'s' * (cpu['threads'] != 1)})", justify="right"
        )

    def row(name: str, of_card: str, of_cpu: str = "") -> None:
        table.add_row(name, of_card, *([of_cpu] if cpu is not None else []))

    def both(name: str, show: Any) -> None:
        row(name, show(card), show(cpu) if cpu is not None else "")

    both("test accuracy", lambda part: f"{part['accuracy']:.2%}")
    both("training, seconds", lambda part: f"{part['train_seconds']:.1f}")
    both("images per second", lambda part: f"{part['images_per_second']:,.0f}")
    if cpu is not None:
        row("speed-up", f"{cpu['train_seconds'] / card['train_seconds']:.2f}x", "1x")
    both("first steps before that, seconds", lambda part: f"{part['warm_up_seconds']:.1f}")
    both("served = trained predictions", served)
    row("operators run natively", natively(card), "-")
    row("fallbacks to the CPU", fallbacks(card), "-")
    return table


def text_panel(part: dict[str, Any]) -> Panel:
    recipe = part["recipe"]
    title = (
        f"Character GPT after {recipe['steps']} steps in {part['train_seconds']:.1f} s: "
        f"{part['characters_per_second']:,.0f} characters/s, held-out loss {part['held_out_loss']:.2f} nats"
    )
    return Panel(
        Text(part["sample"]),
        title=title,
        title_align="left",
        subtitle=f"operators run natively {natively(part)}, fallbacks {fallbacks(part)}",
        subtitle_align="left",
    )


def print_all(console: Console, device: str, results: dict[str, Any]) -> None:
    console.print(digits_table(device, results["digits"][device], results["digits"].get("cpu")))
    if "text" in results:
        console.print(text_panel(results["text"][device]))


def save_curves(path: Path, device: str, results: dict[str, Any]) -> None:
    """Draws the training losses of all parts into one PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parts = 1 + ("text" in results)
    figure, axes = pyplot.subplots(1, parts, figsize=(6.5 * parts, 4), squeeze=False, layout="constrained")
    left = axes[0][0]
    styles: dict[str, dict[str, Any]] = {
        device: {"linewidth": 2.2, "alpha": 0.75},
        "cpu": {"linewidth": 0.9, "color": "black", "linestyle": "--"},
    }
    for name, part in results["digits"].items():
        left.plot(range(1, len(part["losses"]) + 1), part["losses"], label=name, **styles[name])
    left.set(title="Digits, small ResNet", xlabel="step", ylabel="training loss", yscale="log")
    left.legend()
    if "text" in results:
        right = axes[0][1]
        losses = results["text"][device]["losses"]
        right.plot(range(1, len(losses) + 1), losses, label=device, **styles[device])
        right.set(title="Standard library, character GPT", xlabel="step", ylabel="nats per character")
        right.legend()
    for axis in axes[0]:
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
