"""``python -m serving serve``: serves the models of a repository."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from compiler.commands.command_line import at_least
from serving.commands.options import port
from serving.program import server_command

ABOUT = "serves the models of a folder over HTTP"


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repository", type=Path, help="the folder with a folder per model; see docs/serving.md")
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (default: %(default)s, this machine only)"
    )
    parser.add_argument(
        "--http-port", type=port, default=8000, help="of requests; 0 picks a free one (default: %(default)s)"
    )
    parser.add_argument("--grpc-port", type=port, default=8001, help="of requests over gRPC (default: %(default)s)")
    parser.add_argument(
        "--metrics-port", type=port, default=8002, help="of /metrics and the status page (default: %(default)s)"
    )
    parser.add_argument("--admin-port", type=port, help="of loading, promotion and upload (default: none)")
    parser.add_argument(
        "--admin-token-file", type=Path, help="the file whose first line is the token of the admin port"
    )
    parser.add_argument(
        "--tls-certificate",
        type=Path,
        metavar="FILE",
        help="speak TLS on all ports but that of metrics: the certificate in PEM form, then those that sign it",
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="the private key of the certificate")
    parser.add_argument(
        "--trace-endpoint",
        metavar="URL",
        help="send traces to a collector of OTLP over HTTP, such as http://127.0.0.1:4318 (default: none)",
    )
    parser.add_argument(
        "--trace-rate",
        type=share,
        metavar="R",
        help="share, from 0 to 1, of the requests without a traceparent that are traced (default: 0)",
    )
    parser.add_argument(
        "--drain-ms",
        type=at_least(0),
        default=1000,
        help="how long to serve after SIGTERM, not ready (default: %(default)s)",
    )
    parser.add_argument(
        "--grace-ms",
        type=at_least(0),
        default=30000,
        help="how long accepted requests may take then (default: %(default)s)",
    )
    parser.add_argument(
        "--poll-ms",
        type=at_least(0),
        default=1000,
        help="between looks at the repository; 0: never again (default: %(default)s)",
    )
    parser.add_argument(
        "--max-body-mib", type=at_least(1), default=64, help="the largest request (default: %(default)s)"
    )
    parser.add_argument(
        "--shared-memory",
        action=argparse.BooleanOptionalAction,
        help="whether clients may pass tensors in shared memory (default: if the address is a loopback one)",
    )
    parser.add_argument(
        "--cache", type=Path, help="the folder for compiled ONNX models (default: .cache in the repository)"
    )


def _check_ports(arguments: argparse.Namespace) -> None:
    options: dict[int, str] = {}
    for name in ("http-port", "grpc-port", "metrics-port", "admin-port"):
        number = getattr(arguments, name.replace("-", "_"))
        if number and number in options:
            raise ValueError(f"--{options[number]} and --{name} are both {number}; each needs another port")
        options[number] = name


def run(arguments: argparse.Namespace) -> int:
    if (arguments.admin_port is None) != (arguments.admin_token_file is None):
        raise ValueError("--admin-port and --admin-token-file go together")
    if (arguments.tls_certificate is None) != (arguments.tls_key is None):
        raise ValueError("--tls-certificate and --tls-key go together")
    _check_ports(arguments)
    command = server_command(arguments.repository, arguments.cache)
    for name in ("host", "http-port", "grpc-port", "metrics-port", "drain-ms", "grace-ms", "poll-ms", "max-body-mib"):
        command += [f"--{name}", str(getattr(arguments, name.replace("-", "_")))]
    if arguments.admin_port is not None:
        command += ["--admin-port", str(arguments.admin_port), "--admin-token-file", str(arguments.admin_token_file)]
    if arguments.tls_certificate is not None:
        command += ["--tls-certificate", str(arguments.tls_certificate), "--tls-key", str(arguments.tls_key)]
    for name, value in (("trace-endpoint", arguments.trace_endpoint), ("trace-rate", arguments.trace_rate)):
        if value is not None:
            command += [f"--{name}", str(value)]
    if arguments.shared_memory is not None:
        command += ["--shared-memory", "on" if arguments.shared_memory else "off"]
    sys.stdout.flush()
    # The server takes the place of this process, so signals reach it. Its errors begin with the name that it is given.
    os.execv(command[0], [arguments.parser.prog, *command[1:]])  # noqa: S606
