"""``python -m tests.serving.fuzz --requests N [--seed S]``.

``LOOPWRIGHT_SERVER`` may name a server that was built with ``-DLOOPWRIGHT_SANITIZE=ON``. ONNX Runtime leaks 56 bytes
per process, so set ``LSAN_OPTIONS=print_suppressions=0:suppressions=FILE`` with the line ``leak:libonnxruntime``.
A test runs a few hundred requests.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from compiler.commands.command_line import at_least
from tests.serving.fuzz.run import ended, fuzz, fuzz_tls, started, started_with_tls, write_repository
from tests.serving.fuzz.totals import Totals

TLS_SHARE = 0.1  # of the requests; a handshake takes longer than a request


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.serving.fuzz", description=__doc__)
    parser.add_argument("--requests", type=at_least(1), default=10_000, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: %(default)s)")
    arguments = parser.parse_args(argv)
    rng, totals = random.Random(arguments.seed), Totals()

    def progress() -> None:
        print(f"\r{totals.sent.total()} of {arguments.requests}", end="", file=sys.stderr, flush=True)

    by_tls = int(TLS_SHARE * arguments.requests)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repository = folder / "repository"
        write_repository(repository)
        with started(repository) as server:
            fuzz(server, arguments.requests - by_tls, rng, totals, progress)
            problems = ended(server)
        with started_with_tls(repository, folder) as server:
            fuzz_tls(server, by_tls, rng, totals, progress)
            problems += ended(server)
    print(file=sys.stderr)
    for title, counts in (("sent", totals.sent), ("answers", totals.answers)):
        print(f"{title}: " + ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    problems = totals.findings + problems
    print("\n".join(problems) or "no finding")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
