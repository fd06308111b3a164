"""The inference server against Triton.

``python -m benchmarks.serving [--triton FOLDER] [--rows rest-json,...] [--slices N] [--duration S] [--json FILE]``

Both servers have the model ``y = x + 1``: ours compiled, Triton's in its Python backend. One client sends one request
at a time, whose bytes are made before; the first answer is checked. The servers have one core, the client another, and
the servers take turns in slices. CPU time is that of a server's processes by the operating system's accounting, which
has steps of 10 ms. FOLDER has the wheel of nvidia-pytriton 0.7, which contains Triton 2.51:
``pip install --no-deps --target FOLDER nvidia-pytriton==0.7.0 'numpy<2'``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.serving.messages import ROWS
from compiler.commands.command_line import Parser, add_version, at_least, check_file, exit_code, seconds
from compiler.measure import affinity

_SLICES, _DURATION = 7, 2.0


def main(argv: Sequence[str] | None = None) -> int:
    about = "Measures the CPU time per request and the throughput of the inference server, and of Triton."
    parser = Parser(prog="python -m benchmarks.serving", description=about)
    add_version(parser)
    add = parser.add_argument
    add("--triton", type=Path, metavar="FOLDER", help="the folder of Triton (default: only ours)")
    shown = ",".join(ROWS)
    add("--rows", type=_rows, default=list(ROWS), metavar="R,...", help=f"some of {shown} (default: all)")
    add("--slices", type=at_least(1), default=_SLICES, metavar="N", help=f"per row and server (default: {_SLICES})")
    add("--duration", type=seconds, default=_DURATION, metavar="S", help=f"of a slice (default: {_DURATION:g})")
    add("--json", type=Path, metavar="FILE", help="write all slices to this file")
    arguments = parser.parse_args(argv)
    return exit_code(parser, lambda: run(arguments))


def run(arguments: argparse.Namespace) -> int:
    """Starts the servers, measures the rows and prints the table.

    Raises:
        ValueError: there is no Triton in the folder, or a wrong answer.
        RuntimeError: a server is missing or fails, or there are not two cores.
    """
    check_file(arguments.json)
    cores = affinity.usable()
    if len(cores) < 2:
        raise RuntimeError("the server and the client need a core each; this process may use one")
    if any(ROWS[name].protocol == "grpc" for name in arguments.rows) and not find_spec("tritonclient"):
        raise RuntimeError("the rows of gRPC need tritonclient: run `make serving`, or choose others with --rows")
    from benchmarks.serving import report
    from benchmarks.serving.models import compile_models, python_models
    from benchmarks.serving.servers import OURS, TRITON, loopwright, triton

    server_core, client_core = cores[:2]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loopwright-serving-")))
        compile_models(folder / OURS)
        servers = {OURS: stack.enter_context(loopwright(folder / OURS, folder / "loopwright.log", [server_core]))}
        if arguments.triton:
            (folder / TRITON).mkdir()
            wheel = arguments.triton.resolve()
            servers[TRITON] = stack.enter_context(triton(wheel, folder / TRITON, python_models(), [server_core]))
        results = _measure(arguments, servers, server_core, client_core)
    print("\n".join(report.lines(results)))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def _measure(
    arguments: argparse.Namespace, servers: dict[str, Any], server_core: int, client_core: int
) -> list[dict[str, Any]]:
    import kernels
    from benchmarks.serving.measure import measure_row
    from compiler.workloads.target import Target

    about = {
        "cpu": kernels.cpu_name(),
        "isa": Target.from_host(num_cores=1).isa,
        "versions": {name: server.version for name, server in servers.items()},
        "server_core": server_core,
        "client_core": client_core,
    }
    results = []
    with affinity.pinned([client_core]):
        for name in arguments.rows:
            row = ROWS[name]
            print(f"{row.about} ...", file=sys.stderr, flush=True)
            slices = measure_row(row, servers, arguments.slices, arguments.duration)
            results.append({"row": name, "about": row.about, **about, "slices": slices})
    return results


def _rows(text: str) -> list[str]:
    names = text.split(",")
    if not set(names) <= set(ROWS):
        raise argparse.ArgumentTypeError(f"must be some of {','.join(ROWS)}; got {text!r}")
    return names
