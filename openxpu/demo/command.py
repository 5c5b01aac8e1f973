"""`openxpu demo`: runs the parts in order, shows their progress, prints the table and keeps the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import openxpu
from openxpu.demo import report

ACCURACY_TARGET = 0.97


class DemoFailed(RuntimeError):
    """A part of the demo ended with an error; the message says which and where its log lies."""


def environment() -> dict[str, str]:
    """The child imports the very package that runs here, whatever folder the command was called in."""
    package_root = str(Path(openxpu.__file__).parent.parent)
    old = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": package_root if old is None else package_root + os.pathsep + old,
    }


def run_part(part: str, device: str, output: Path, quick: bool, progress: Progress) -> dict[str, Any]:
    """Runs one training in its own process and returns its result. Its own output goes to a log file."""
    label = {"digits": "digits", "text": "character GPT"}[part]
    task = progress.add_task(f"{label} on {device}: starting", total=None)
    log = output / f"{part}-{device}.log"
    read_end, write_end = os.pipe()
    order = {"part": part, "device": device, "output": str(output), "quick": quick, "events": write_end}
    with log.open("w") as log_file:
        child = subprocess.Popen(
            [sys.executable, "-m", "openxpu.demo.worker", json.dumps(order)],
            pass_fds=(write_end,),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
        )
        os.close(write_end)
        result: dict[str, Any] | None = None
        try:
            with os.fdopen(read_end) as events:
                for line in events:
                    event = json.loads(line)
                    kind = event.pop("event")
                    if kind == "stage":
                        progress.update(task, description=f"{label} on {device}: {event['text']}")
                    elif kind == "step":
                        progress.update(
                            task,
                            description=f"{label} on {device}: loss {event['loss']:.3f}",
                            completed=event["step"],
                            total=event["steps"],
                        )
                    else:
                        result = event
            code = child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise
    if result is None or code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise DemoFailed(
            f"The part {label!r} on device {device!r} ended with exit code {code} and "
            f"{'no' if result is None else 'a'} result. The end of {log}:\n{tail}"
        )
    progress.update(task, description=f"{label} on {device}: done")
    return result


def complaints(results: dict[str, Any], device: str, quick: bool) -> list[str]:
    """What this run did not reach, as sentences. An empty list is a pass."""
    said = []
    for name, part in results["digits"].items():
        if part["served_equal"] != part["held_out_images"]:
            wrong = part["held_out_images"] - part["served_equal"]
            said.append(f"{wrong} served predictions on {name} differ from the trained model's.")
    card = results["digits"][device]
    if not quick and card["accuracy"] < ACCURACY_TARGET:
        said.append(
            f"The accuracy on {device} is {card['accuracy']:.2%}; expected at least {ACCURACY_TARGET:.0%}."
        )
    for part_name in ("digits", "text"):
        missing = results.get(part_name, {}).get(device, {}).get("fallbacks")
        if missing:
            said.append(
                f"Operators of the {part_name} part that fell back to the CPU: {', '.join(sorted(missing))}."
            )
    return said


def run(
    output: Path = Path("demo_output"),
    as_json: bool = False,
    quick: bool = False,
    skip_gpt: bool = False,
    no_cpu: bool = False,
    device: str = "xpu",
) -> int:
    """Runs the demo and returns the exit code of the command.

    Args:
        output: folder for the exported model, logs, `results.json` and `loss-curves.png`; made if missing.
        as_json: print the results as JSON on standard output in place of the table (progress goes to stderr).
        quick: a few steps only, to see that everything runs; accuracy is then not judged.
        skip_gpt: leave out the character-level GPT.
        no_cpu: leave out the same training on Paddle's own CPU device.
        device: the Paddle device to show; anything but "xpu" is for development of the demo itself.
    """
    start = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    progress_console = Console(stderr=True)
    results: dict[str, Any] = {"device": device, "quick": quick, "digits": {}}
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        # A terminal gets a bar; a file or a pipe gets nothing until the table.
        hidden = not progress_console.is_terminal
        with Progress(*columns, console=progress_console, refresh_per_second=4, disable=hidden) as progress:
            results["digits"][device] = run_part("digits", device, output, quick, progress)
            if not no_cpu and device != "cpu":
                results["digits"]["cpu"] = run_part("digits", "cpu", output, quick, progress)
            if not skip_gpt:
                results["text"] = {device: run_part("text", device, output, quick, progress)}
    except DemoFailed as failure:
        progress_console.print(f"[red]The demo stopped.[/red] {failure}", highlight=False)
        return 1
    except KeyboardInterrupt:
        progress_console.print("The demo was interrupted; its processes have ended.")
        return 130
    if not no_cpu and device != "cpu":
        seconds = {name: part["train_seconds"] for name, part in results["digits"].items()}
        results["speed_up"] = seconds["cpu"] / seconds[device]
    results["complaints"] = complaints(results, device, quick)
    curves = output / "loss-curves.png"
    report.save_curves(curves, device, results)
    results["curves"] = str(curves)
    results["seconds"] = time.perf_counter() - start
    (output / "results.json").write_text(json.dumps(results, indent=1))

    if as_json:
        print(json.dumps(results))
    else:
        console = Console()
        report.print_all(console, device, results)
        console.print(f"{results['seconds']:.0f} seconds in all. Loss curves: {curves}")
        for complaint in results["complaints"]:
            console.print(f"[red]{complaint}[/red]")
    return 1 if results["complaints"] else 0
