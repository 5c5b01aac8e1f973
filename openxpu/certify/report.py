"""What a certification found, as a table, as Markdown and as one HTML file that can be opened and sorted."""

from __future__ import annotations

import html
import json
import math
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

STAGES = ("forward", "training", "amp", "export", "infer", "sizes", "multi-card")
Result = dict[str, Any]


def passed(result: Result) -> bool:
    stages = result["stages"].values()
    return bool(stages) and all(stage["passed"] for stage in stages)


def mark(result: Result, stage: str) -> str:
    found = result["stages"].get(stage)
    return "" if found is None else "yes" if found["passed"] else "NO"


def speed(result: Result, stage: str) -> float | None:
    """How often the card does it while Paddle's CPU device does it once."""
    found = result["stages"].get(stage, {})
    return found["cpu_ms"] / found["card_ms"] if found.get("passed") and found.get("card_ms") else None


def first_error(result: Result) -> str:
    for name, stage in result["stages"].items():
        if not stage["passed"]:
            return f"{name}: {' '.join(str(stage['error']).split())}"
    return str(result.get("skipped", ""))


def row(result: Result) -> list[str]:
    """The cells of one model, in the order of HEAD."""
    times = [speed(result, stage) for stage in ("training", "infer")]
    size = result["stages"].get("forward", {}).get("parameters")
    return [
        result["model"],
        result["task"],
        result["source"],
        "" if size is None else f"{size / 1e6:.1f} M",
        f"{result['multiply_adds'] / 1e9:.3g}" if "multiply_adds" in result else "",
        *(mark(result, stage) for stage in STAGES),
        *("" if t is None else f"{t:.2f}x" for t in times),
        " ".join(f"{name} ({count})" for name, count in result.get("fallbacks", {}).items()) or ("0" if result["stages"] else ""),
        f"{result['peak_bytes'] / 2**20:.0f} MiB" if result.get("peak_bytes") else "",
    ]  # fmt: skip


HEAD = (
    "model",
    "task",
    "of",
    "parameters",
    "GMAC",
    *STAGES,
    "training",
    "inference",
    "fallbacks",
    "peak memory",
)


def table(results: list[Result]) -> Any:
    from rich.table import Table

    printed = Table(*HEAD)
    for result in results:
        printed.add_row(*row(result))
    return printed


def _mean(values: list[float]) -> str:
    return f"{math.exp(sum(map(math.log, values)) / len(values)):.2f}x" if values else "not measured"


def summary(results: list[Result]) -> str:
    """One paragraph, a line for each model that failed, and one for each suite whose models were left out."""
    tried = [r for r in results if "skipped" not in r]
    good = [r for r in tried if passed(r)]
    native = [r for r in good if not r.get("fallbacks")]
    speeds = {
        stage: [s for r in tried if (s := speed(r, stage)) is not None] for stage in ("training", "infer")
    }
    lines = [
        f"{len(results)} models, {len(tried)} tried, {len(good)} certified in every stage, {len(native)} of them without a "
        f"fallback. Beside Paddle's CPU device, geometric mean: training {_mean(speeds['training'])}, inference "
        f"{_mean(speeds['infer'])}."
    ]
    lines += [f"- {r['model']}: {first_error(r)[:300]}" for r in tried if not passed(r)]
    reasons = Counter((r["source"], str(r["skipped"]).partition(": ")[2]) for r in results if "skipped" in r)
    lines += [
        f"- {count} models of {source}, which is not installed here, were left out: {install}"
        for (source, install), count in reasons.items()
    ]
    return "\n".join(lines)


def machines(results: list[Result]) -> str:
    """What the times were measured on."""
    found = sorted({(r["processor"], r["cores"]) for r in results if "processor" in r})
    names = [f"{name} with {cores} core{'s' * (cores != 1)} for a model" for name, cores in found]
    return f"Measured on {' and '.join(names)}." if names else ""


def markdown(results: list[Result], missing: int = 0) -> str:
    """The text of docs/models.md. `missing`: of the models that were asked for."""
    lines = [
        "# Certified models",
        "",
        "Written by `openxpu certify --all`. *yes*: the stage holds beside Paddle's CPU device in f32 (amp: bf16 on the card);",
        "*training*, *inference*: how often the card does a step while Paddle's CPU device does one, in the same run. *GMAC*: billions of",
        "multiply-adds of one sample forward, of the size that it was certified with.",
        "",
        *([machines(results), ""] if machines(results) else []),
        summary(results),
        *(["", f"The run was interrupted; models that were not reached: {missing}."] if missing else []),
        "",
        f"| {' | '.join(HEAD)} |",
        f"|{'---|' * len(HEAD)}",
        *(f"| {' | '.join(row(r))} |" for r in results if "skipped" not in r),
        "",
    ]
    return "\n".join(lines)


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Certified models</title><style>
body{font:14px system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}th,td{padding:.3em .7em;border-bottom:1px solid #ddd;
text-align:left;white-space:nowrap}th{cursor:pointer;position:sticky;top:0;background:#f4f4f4}td.yes{color:#176b2c}td.no{color:#a11;font-weight:600}
svg{vertical-align:middle}input{padding:.4em;width:24em;margin:1em 0}</style></head><body><h1>Certified models</h1><p>%(summary)s</p>
<input id="filter" placeholder="Filter by name, task, source"><table id="t"><thead><tr>%(head)s</tr></thead><tbody>%(body)s</tbody></table><script>
const body=document.querySelector("#t tbody");let last=-1,up=1;
document.querySelectorAll("#t th").forEach((th,i)=>th.onclick=()=>{up=i===last?-up:1;last=i;
const v=r=>{const c=r.cells[i];const s=c.dataset.value??c.textContent;const n=parseFloat(s);return isNaN(n)?s:n};
[...body.rows].sort((a,b)=>{const x=v(a),y=v(b);return(x<y?-1:x>y?1:0)*up}).forEach(r=>body.append(r))});
document.querySelector("#filter").oninput=e=>{const q=e.target.value.toLowerCase();for(const r of body.rows)
r.hidden=!r.textContent.toLowerCase().includes(q)};</script></body></html>
"""


def _curve(losses: list[float]) -> str:
    """A small plot of the losses."""
    if len(losses) < 2 or not all(map(math.isfinite, losses)):
        return ""
    low, high = min(losses), max(losses)
    points = " ".join(
        f"{i * 80 / (len(losses) - 1):.1f},{22 - 20 * (v - low) / ((high - low) or 1):.1f}"
        for i, v in enumerate(losses)
    )
    return f'<svg width="84" height="24"><polyline fill="none" stroke="#2563ab" stroke-width="1.5" points="{points}"/></svg>'


def page(results: list[Result]) -> str:
    """One HTML file without foreign parts."""
    head = "".join(f"<th>{html.escape(h)}</th>" for h in (*HEAD, "losses", "first error"))
    body = []
    for result in results:
        cells = []
        for name, cell in zip(HEAD, row(result), strict=True):
            kind = f' class="{cell.lower()}"' if name in STAGES and cell else ""
            cells.append(f"<td{kind}>{html.escape(cell)}</td>")
        losses = result["stages"].get("training", {}).get("losses", [])
        cells.append(f"<td>{_curve(losses)}</td><td>{html.escape(first_error(result)[:200])}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    first = html.escape(f"{machines(results)} {summary(results).splitlines()[0]}".strip())
    return PAGE % {"summary": first, "head": head, "body": "".join(body)}


def write(results: list[Result], folder: Path, missing: int = 0) -> None:
    """models.json, models.md and models.html, each written aside and renamed. `missing`: models that were not reached."""
    texts = {
        "models.json": json.dumps(results, indent=1),
        "models.md": markdown(results, missing),
        "models.html": page(results),
    }
    for name, text in texts.items():
        keep(folder / name, text)


def keep(path: Path, text: str) -> None:
    """Written aside, then renamed: nobody finds half a file."""
    descriptor, aside = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(aside).replace(path)
