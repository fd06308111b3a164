"""``python -m benchmarks``: lists the benchmarks and their commands."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from compiler.commands.command_line import Parser, add_version

PROG = "python -m benchmarks"
# Commands and what they do.
COMMANDS: Mapping[str, str] = {
    "pytest benchmarks --benchmark": "measures a sample of layers and whole models, with tables and pictures",
    "pytest benchmarks": "checks answers only, on the lightest layers and models",
    "python -m benchmarks.layers": "measures one layer in our kernels, oneDNN and torch",
    "python -m benchmarks.whole_models": "measures one model in our compiler, ONNX Runtime, OpenVINO and ncnn",
    "python -m benchmarks.recurrent": "measures recurrent layers in our compiler and ONNX Runtime",
    "python -m benchmarks.scaling": "measures speed-ups on many threads, and predicts them from shares on one core",
    "python -m benchmarks.serving": "measures the server's CPU time per request and throughput, next to Triton's",
    "python -m benchmarks.models.fetch": "downloads the real models of the census",
    "python -m benchmarks.census": "compiles the real models of the census and compares their answers",
    "python -m benchmarks.tvm_import": "imports the models of the census into TVM with TVM's own importer",
    "python -m benchmarks.ablation": "measures the contribution of each graph pass, of tuning and of the graph view",
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog=PROG, description="Lists the benchmarks. Each command has its own --help.")
    add_version(parser)
    parser.parse_args(argv)
    width = max(map(len, COMMANDS))
    for command, about in COMMANDS.items():
        print(f"{command.ljust(width)}  {about}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
