# The `openxpu` command. Each subcommand imports what it needs when it runs, so that none pays for another.
from __future__ import annotations

import argparse
import sys
from pathlib import Path


def _smi(arguments: argparse.Namespace) -> int:
    from openxpu.runtime.smi import run

    return run(as_json=arguments.json, watch=arguments.watch)


def _topo(arguments: argparse.Namespace) -> int:
    from openxpu.collectives.topo_command import run

    try:
        return run(arguments.json)
    except (RuntimeError, TimeoutError) as error:
        print(f"openxpu: {error}", file=sys.stderr)
        return 1


def _demo(arguments: argparse.Namespace) -> int:
    try:
        from openxpu.demo.command import run
    except ModuleNotFoundError as missing:
        print(
            f"openxpu demo needs {missing.name}; install it with: pip install 'openxpu[demo]'",
            file=sys.stderr,
        )
        return 1
    return run(arguments.output, arguments.json, arguments.quick, arguments.skip_gpt, arguments.no_cpu)


def _compile(arguments: argparse.Namespace) -> int:
    from openxpu.compiler.command import run

    return run(
        arguments.kernel,
        arguments.signature,
        arguments.constexpr,
        arguments.target,
        arguments.stage,
        arguments.json,
    )


def _environment(arguments: argparse.Namespace) -> int:
    import os

    from rich.console import Console
    from rich.table import Table

    from openxpu import environment
    from openxpu.compiler import target

    table = Table("variable", "now", "values", "default", "meaning")
    for variable in environment.VARIABLES:
        now = os.environ.get(variable.name, "")
        table.add_row(variable.name, now, variable.values, variable.default, variable.meaning)
    Console().print(table)
    for name in environment.unknown():
        print(f"{name} is set, and nothing reads it: is it misspelt?", file=sys.stderr)
    try:
        found = target.host()
    except (ValueError, target.UnsupportedProcessor) as error:
        print(f"openxpu: {error}", file=sys.stderr)
        return 1
    print(f"Kernels are compiled for {found.name} ({', '.join(sorted(found.features))}).")
    return 0


def _ops(arguments: argparse.Namespace) -> int:
    try:
        from openxpu.paddle import operators_command as command

        if arguments.trace:
            return command.trace(arguments.trace, arguments.json)
        if arguments.missing:
            return command.missing(arguments.missing, arguments.json)
        return command.markdown() if arguments.markdown else command.table(arguments.json)
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        print(f"openxpu: {error}", file=sys.stderr)
        return 1


def _models(arguments: argparse.Namespace) -> int:
    from openxpu.models.command import run

    return run(arguments.names, arguments.task, arguments.json, arguments.flops)


def _certify(arguments: argparse.Namespace) -> int:
    from openxpu.certify.command import Order, run

    names = list(arguments.models)
    if arguments.smoke:
        from openxpu.models import SMOKE

        names += SMOKE
    order = Order(
        names=tuple(names),
        tasks=tuple(arguments.task),
        inputs=tuple(arguments.input),
        mode=arguments.mode,
        batch=arguments.batch,
        output=arguments.output,
        again=arguments.again,
        jobs=arguments.jobs,
    )
    if not (order.names or order.tasks or arguments.all):
        print("openxpu: name models, or give --task or --all; `openxpu models` lists them", file=sys.stderr)
        return 2
    return run(order, arguments.json)


def _cache(arguments: argparse.Namespace) -> int:
    from openxpu.compiler import cache_command

    action = cache_command.clear if arguments.action == "clear" else cache_command.show
    try:
        return action(arguments.json)
    except (OSError, ValueError) as error:
        print(f"openxpu: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="openxpu", description="OpenXPU: an open accelerator stack for PaddlePaddle"
    )
    parser.add_argument("--version", action="store_true", help="print the version and leave")
    commands = parser.add_subparsers(title="commands", metavar="command")

    smi = commands.add_parser("smi", help="cards, their memory, utilisation, processes and groups")
    smi.add_argument("--json", action="store_true", help="print JSON")
    smi.add_argument(
        "--watch",
        nargs="?",
        type=float,
        const=1.0,
        metavar="SECONDS",
        help="repeat (every second) until interrupted",
    )
    smi.set_defaults(run=_smi)

    topo = commands.add_parser("topo", help="by what path the cards reach each other, and how fast; measured")
    topo.add_argument("--json", action="store_true", help="print JSON")
    topo.set_defaults(run=_topo)

    demo = commands.add_parser(
        "demo", help="train, export and serve a model on the card, beside Paddle's CPU"
    )
    demo.add_argument(
        "--output", type=Path, default=Path("demo_output"), metavar="DIR", help="where results go"
    )
    demo.add_argument("--json", action="store_true", help="print the results as JSON")
    demo.add_argument("--quick", action="store_true", help="fewer epochs")
    demo.add_argument("--skip-gpt", action="store_true", help="leave the character GPT out")
    demo.add_argument("--no-cpu", action="store_true", help="leave Paddle's CPU device out")
    demo.set_defaults(run=_demo)

    kernel = commands.add_parser(
        "compile", help="a Triton kernel stage by stage, with what it moves, computes, fuses and spills"
    )
    kernel.add_argument(
        "kernel",
        metavar="KERNEL",
        help="kernel.py:function, package.module:function, or softmax.softmax_rows",
    )
    kernel.add_argument(
        "--signature",
        default="",
        metavar="TYPES",
        help="one type for each argument at run time, such as '*fp32,*fp32,i32'",
    )
    kernel.add_argument(
        "--constexpr",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the value of a constexpr parameter; may be repeated",
    )
    kernel.add_argument("--target", metavar="NAME", help="such as x86-64-v4; default: this machine")
    kernel.add_argument(
        "--stage",
        metavar="NAMES",
        help="of ttir, tile, schedule, llvm, optimised, asm, summary; default: all but optimised",
    )
    kernel.add_argument("--json", action="store_true", help="print JSON")
    kernel.set_defaults(run=_compile)

    cache = commands.add_parser("cache", help="compiled kernels on disk: folder, number, size, limit")
    cache.add_argument(
        "action", nargs="?", choices=("show", "clear"), default="show", help="clear removes all of them"
    )
    cache.add_argument("--json", action="store_true", help="print JSON")
    cache.set_defaults(run=_cache)

    ops = commands.add_parser(
        "ops", help="the operators that run on the card, those that a program lacks, those that fell back"
    )
    ops.add_argument("--json", action="store_true", help="print JSON")
    ops.add_argument("--markdown", action="store_true", help="print the table as docs/operators.md has it")
    ops.add_argument(
        "--missing",
        type=Path,
        metavar="MODEL",
        help="a saved program (model.json or model.pdmodel): which of its operators would run on the CPU",
    )
    ops.add_argument(
        "--trace",
        nargs=argparse.REMAINDER,
        metavar="SCRIPT [ARGUMENT ...]",
        help="run a script, then say which operators ran on the CPU, how often, and from which line first; comes last",
    )
    ops.set_defaults(run=_ops)

    library = commands.add_parser(
        "models", help="the models that OpenXPU knows, by task, and where they come from"
    )
    library.add_argument("names", nargs="*", metavar="NAME", help="such as resnet50 or 'resnet*'")
    library.add_argument(
        "--task", action="append", default=[], metavar="TASK", help="such as detection; may be repeated"
    )
    library.add_argument(
        "--flops", action="store_true", help="build them and count parameters and multiply-adds of one sample"
    )
    library.add_argument("--json", action="store_true", help="print JSON")
    library.set_defaults(run=_models)

    certify = commands.add_parser(
        "certify", help="train, export, infer: models on the card beside Paddle's CPU device"
    )
    certify.add_argument(
        "models", nargs="*", metavar="MODEL", help="a name, 'resnet*', or my.module:build with --input"
    )
    certify.add_argument("--all", action="store_true", help="every model that can be built here")
    certify.add_argument("--smoke", action="store_true", help="twenty small models of all tasks, in minutes")
    certify.add_argument(
        "--task", action="append", default=[], metavar="TASK", help="such as detection; may be repeated"
    )
    certify.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="SHAPE",
        help="of your own model: 1x3x224x224, or 1x128:i64; one for each",
    )
    certify.add_argument(
        "--mode",
        default="all",
        choices=("lite-train-lite-infer", "whole-infer", "amp", "multi-card", "all"),
        help="which stages (all)",
    )
    certify.add_argument("--batch", type=int, default=2, metavar="N", help="samples in a batch (2)")
    certify.add_argument(
        "--output",
        type=Path,
        default=Path("certification"),
        metavar="DIR",
        help="where results go, and are taken up again",
    )
    certify.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="models at a time, each on its share of the cores (1)",
    )
    certify.add_argument("--again", action="store_true", help="also what has a result already")
    certify.add_argument("--json", action="store_true", help="print JSON")
    certify.set_defaults(run=_certify)

    environment = commands.add_parser("environment", help="the OPENXPU_* variables and their values now")
    environment.set_defaults(run=_environment)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns its exit code."""
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.version:
        from openxpu import __version__

        print(f"openxpu {__version__}")
        return 0
    if not hasattr(parsed, "run"):
        parser.print_help()
        return 2
    try:
        return int(parsed.run(parsed))
    except KeyboardInterrupt:
        return 130
    except RuntimeError as error:
        # The run time's errors are sentences for users; their trace says nothing more.
        if type(error).__module__ != "openxpu._runtime":
            raise
        print(f"openxpu: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
