"""Measures the costs of the kernels, caches and threads of this CPU in about 20 seconds.

Default schedules and numbers of threads follow from the result, which is stored in the user's cache folder for this CPU
and the number of cores that the process may use.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from kernels import _native
from kernels.dense import Dense, default_dense_schedule
from kernels.machine import available_dtypes, available_isas, cache_bytes, cpu_name, memory_bandwidth, peak_gflops
from kernels.machine_model import LEVELS, MachineModel, user_file

# Lengths of sums that a tile's cycles are fitted to, by the level that holds the weights, as parts of the longest.
PARTS = ((1 / 8, 1 / 2, 1), (1 / 4, 1), (1 / 2,), (1 / 2,))
LONGEST = 256
# Vectors of channels that the transforms of Winograd's algorithms are fitted to.
VECTORS = (1, 2, 4, 8)
PASSES = 3
SIMILAR = 0.02  # of two distances as fast, the shorter one loads less that is not needed
COLUMNS = 4  # vectors of the panels of layers that are measured
SERIES = 8  # tiles of a call
# Prefetch distances of weights from memory that are tried, in bytes.
DISTANCES = (0, 1024, 2048, 4096, 8192)
_NOISE = 0.05
_NOISY_CORES = 0.1  # that other processes keep busy; docs/operators.md has the same limit

_STAT = Path("/proc/stat")

Report = Callable[[str], None]


def calibrate(threads: int, report: Report | None = None) -> MachineModel:
    """Measures this CPU with 1 to ``threads`` threads. The process needs as many cores.

    Args:
        report: called with one line after each step.

    Raises:
        ValueError: a measurement is not plausible.
    """
    report = report or (lambda _: None)
    start, others = time.monotonic(), _others_cpu_secs()
    peak = peak_gflops()
    ghz = _native.clock_ghz()
    caches = ",".join(map(str, cache_bytes()))
    lines = [
        "loopwright machine model,1",
        f"cpu,{_native.cpu_key()}",
        "source,measured",
        f"cores,{threads}",
        f"ghz,{ghz:.5g}",
        f"caches,{caches}",
    ]
    report(f"core clock {ghz:.2f} GHz, FMA peak {peak:.1f} GFLOP/s")
    for level, name in enumerate(LEVELS):
        gbs = _for_threads(threads, lambda n, level=level: memory_bandwidth(n, _working_set(level, n)))
        lines.append(_line("bandwidth", name.lower(), *(value / ghz for value in gbs)))
        report(f"{name}: {_list(gbs)} GB/s with 1 to {threads} threads")
    for name, measure in (("fork_join", _native.fork_join_secs), ("barrier", _native.barrier_secs)):
        secs = [0.0, *_for_threads(threads, measure)[1:]]
        lines.append(_line(name, *(value * ghz * 1e9 for value in secs)))
        report(f"{name.replace('_', ' and ')}: {_list([value * 1e6 for value in secs])} µs")
    for isa in available_isas():
        if isa != "reference":
            distance = _best_distance(isa)
            per_isa = _float32_lines(isa, ghz)
            for dtype in available_dtypes(isa):
                lines += [f"kernels,{isa},{dtype},prefetch,{distance}", *per_isa]
                lines += _transforms(isa, ghz) if dtype == "float32" else ()
                lines += _tiles(isa, dtype, ghz, distance, report)
    if (change := abs(peak_gflops() / peak - 1)) > _NOISE:
        report(f"NOT QUIET: the FMA peak changed by {change:.0%} during this; repeat it when nothing else is running")
    if (busy := (_others_cpu_secs() - others) / (time.monotonic() - start)) > _NOISY_CORES:
        report(f"NOT QUIET: others kept {busy:.1f} cores busy during this; repeat it when nothing else is running")
    return MachineModel.parse("\n".join(lines) + "\n")


def nonnegative_least_squares(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns x >= 0 with the least |matrix x - values|, for a few unknowns: the best of all choices of zeros."""
    unknowns = matrix.shape[1]
    best, least = np.zeros(unknowns), float(values @ values)
    for count in range(1, unknowns + 1):
        for free in map(list, itertools.combinations(range(unknowns), count)):
            x = np.linalg.lstsq(matrix[:, free], values, rcond=None)[0]
            error = matrix[:, free] @ x - values
            if (x >= 0).all() and error @ error < least:
                best, least = np.zeros(unknowns), float(error @ error)
                best[free] = x
    return best


def fit_tile(points: Sequence[tuple[int, int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Fits start + k * step[level] to measured cycles, with relative errors, and steps that do not decrease by level.

    Args:
        points: (level, k, cycles)

    Returns:
        (start, step from L1, L2, L3, memory), and the relative error of each point.
    """
    matrix = np.array([[1.0, *(float(k * (at <= level)) for at in range(len(LEVELS)))] for level, k, _ in points])
    cycles = np.array([measured for *_, measured in points])
    start, *steps = nonnegative_least_squares(matrix / cycles[:, None], np.ones(len(points)))
    fitted = np.array([start, *np.cumsum(steps)])
    errors = (matrix @ np.array([start, *steps])) / cycles - 1
    return fitted, errors


def _float32_lines(isa: str, ghz: float) -> list[str]:
    """Returns the lines of what is measured in float32 and holds for every dtype of an ISA."""
    secs = {"strassen_sum": _native.strassen_sum_secs(isa), "cell": _native.cell_secs(isa), "call": _call_secs(isa)}
    return [_line(name, value * ghz * 1e9) for name, value in secs.items()]


def _transforms(isa: str, ghz: float) -> Iterator[str]:
    """Yields the lines of Winograd's transforms, which are float32."""
    for which in range(3):
        secs = np.array([_native.transform_secs(isa, which, vectors) for vectors in VECTORS])
        counts = np.array([(1.0, vectors) for vectors in VECTORS])
        fits = [nonnegative_least_squares(counts / of[:, None], np.ones(len(of))) for of in (secs * ghz * 1e9).T]
        yield _line("winograd", which, *np.concatenate(fits))


def _tiles(isa: str, dtype: str, ghz: float, distance: int, report: Report) -> Iterator[str]:
    """Yields the lines of the register tiles of an ISA and dtype."""
    lanes = _native.lanes(isa, dtype)
    tiles = [
        (rows, halves)
        for rows, columns in _native.register_tiles(isa, dtype)
        for halves in (2 * columns // lanes - 1, 2 * columns // lanes)
        if halves % 2 == 0 or _native.has_half_tile(isa, dtype, rows, columns // lanes)
    ]
    points = _measured_tiles(isa, dtype, tiles, distance)
    products = _native.tile_k(isa, dtype)
    # Whole vectors per cycle; at least one, if other programs take most of the time.
    fmas = max(1, round(peak_gflops(isa, dtype=dtype) / (2 * products * lanes * ghz)))
    errors = []
    for tile in tiles:
        fitted, error = fit_tile([(level, k, least) for (level, k), least in points[tile].items()])
        fitted[1:] = np.maximum(fitted[1:], tile[0] * tile[1] / 2 / fmas)  # no tile exceeds the peak; the clock varied
        errors.append(error)
        yield _line("tile", *tile, *fitted)
    relative = np.abs(np.concatenate(errors))
    worst = max(zip(errors, tiles, strict=True), key=lambda pair: np.abs(pair[0]).max())[1]
    report(
        f"{isa} {dtype}: {len(tiles)} register tiles, start + k * step fits their cycles within "
        f"{np.median(relative):.1%} (median), {np.percentile(relative, 90):.1%} (90 %), {relative.max():.1%} "
        f"({worst[0]}x{worst[1] * lanes // 2})"
    )


def _measured_tiles(
    isa: str, dtype: str, tiles: Sequence[tuple[int, int]], distance: int
) -> dict[tuple[int, int], dict[tuple[int, int], float]]:
    """Returns the cycles of tiles (rows, half vectors) by level and length of the sum.

    Each is the least of several passes over all tiles, since noise lasts longer than a measurement. The clock is
    measured next to each tile, because it changes too.
    """
    lanes = _native.lanes(isa, dtype)
    points: dict[tuple[int, int], dict[tuple[int, int], float]] = {tile: {} for tile in tiles}
    for _ in range(PASSES):
        for rows, halves in tiles:
            cycles = _native.clock_ghz() * 1e9
            known = points[rows, halves]
            for level, k in _sums((halves + 1) // 2 * lanes):
                ahead = distance if level > 1 else 0
                series = 1 if ahead else SERIES
                measured = _native.tile_secs(isa, dtype, rows, halves, k, level, ahead, series) * cycles
                known[level, k] = min(known.get((level, k), measured), measured)
    return points


def _sums(columns: int) -> Iterator[tuple[int, int]]:
    """Yields levels and lengths of sums to measure. A panel from L1 or L2 takes at most half of it."""
    for level, parts in enumerate(PARTS):
        longest = min(LONGEST, cache_bytes()[level] // 2 // (4 * columns)) if level < 2 else LONGEST
        for part in parts:
            yield level, max(4, int(longest * part) // 4 * 4)


def _best_distance(isa: str) -> int:
    """Returns the prefetch distance with which a layer reads weights from L3 fastest; 0: without prefetches into L1."""
    n, k = 4096, 512
    secs = np.zeros(len(DISTANCES))
    for threads in {1, _native.usable_cores()}:
        changes = [{"prefetch": distance, "prefetch_next": distance == 0} for distance in DISTANCES]
        layers = [_one_row(isa, n, k, change, threads) for change in changes]
        least = np.min([[layer(4) for layer in layers] for _ in range(16)], axis=0)
        secs += least / least.min()
    return next(
        distance for distance, least in zip(DISTANCES, secs, strict=True) if least <= secs.min() * (1 + SIMILAR)
    )


def _call_secs(isa: str) -> float:
    """Returns what a panel of a layer takes longer than its tile: the loops around the microkernel and its call."""
    panels, k, distance = 64, 32, 64
    n = panels * COLUMNS * _native.lanes(isa, "float32")
    layer = _one_row(isa, n, k, {"prefetch": distance, "prefetch_next": False})
    tile = min(_native.tile_secs(isa, "float32", 1, 2 * COLUMNS, k, 1, distance, 1) for _ in range(8))
    return max(0.0, min(layer(50) for _ in range(20)) / panels - tile)


def _one_row(isa: str, n: int, k: int, changes: Mapping[str, object], threads: int = 1) -> Callable[[int], float]:
    """Returns a function that runs a layer of one row a number of times, and returns the mean seconds."""
    nr = COLUMNS * _native.lanes(isa, "float32")
    values = default_dense_schedule(1, n, k, isa, threads)
    schedule = {**values, "mr": 1, "nr": nr, "nc": nr if changes["prefetch_next"] else n, "kc": k, **changes}
    layer = Dense(np.zeros((n, k), np.float32), isa=isa, threads=threads, schedule=schedule)
    x, out = np.zeros((1, k), np.float32), np.zeros((1, n), np.float32)
    return lambda number: layer.time(x, out, number=number)[0]


def _working_set(level: int, threads: int) -> int | None:
    """Returns half of a level's bytes, for each thread where each core has one; None for memory."""
    if level == len(LEVELS) - 1:
        return None
    size = cache_bytes()[level] or 4 * cache_bytes()[level - 1]
    return size // 2 * (threads if level < 2 else 1)


def _for_threads(threads: int, measure: Callable[[int], float]) -> list[float]:
    """Returns the values of 1 to ``threads`` threads: measured for powers of two and all threads, linear between."""
    counts = sorted({min(2**i, threads) for i in range(threads.bit_length() + 1)})
    return list(np.interp(range(1, threads + 1), counts, [measure(count) for count in counts]))


def _others_cpu_secs() -> float:
    """Returns the seconds that all CPUs have worked for others, or for other virtual machines; 0 without /proc."""
    try:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, _STAT.read_text().split(maxsplit=9)[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - time.process_time()


def _line(*fields: object) -> str:
    return ",".join(f"{field:.5g}" if isinstance(field, float) else str(field) for field in fields)


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


class Parser(argparse.ArgumentParser):
    """Reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


class _Version(argparse.Action):
    """Prints the version of the distribution and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib import metadata

        print("loopwright", metadata.version("loopwright"))
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Raises:
        SystemExit: 2 after one line on standard error about an argument or a path; 0 after ``--help``, ``--version``.
    """
    parser = Parser(
        prog="python -m kernels.calibrate",
        description=__doc__,
        epilog="Exit codes: 0 success, 1 failure, 2 invalid argument or path, 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    about = "file for the machine model (default: the one in the user's cache folder, which the library reads)"
    parser.add_argument("--output", type=Path, metavar="FILE", help=about)
    path = parser.parse_args(argv).output or user_file()
    if path is None:
        parser.error("there is no cache folder without HOME or XDG_CACHE_HOME; choose a file with --output")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        # Before the measurement, which would otherwise be lost. Other processes see the old file or the new one.
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            model, seconds = _calibrate_and_print()
            written = Path(folder) / path.name
            written.write_text(model.text, encoding="utf-8")
            written.replace(path)
    except OSError as error:
        parser.error(f"cannot write {path}: {error.strerror}; choose another file with --output")
    except ValueError as error:  # the machine was so busy that a measurement means nothing
        print(f"no machine model: {error}; repeat this when nothing else is running", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing was written", file=sys.stderr)
        return 130
    print(f"{model.id}, measured in {seconds:.0f} s, written to {path}")
    return 0


def _calibrate_and_print() -> tuple[MachineModel, float]:
    """Returns the model and the seconds that it took."""
    cores = _native.usable_cores()
    print(f"Measuring {cpu_name()} ({_native.cpu_key()}, {cores} cores); nothing else should run.", flush=True)
    start = time.monotonic()
    model = calibrate(cores, lambda line: print(line, flush=True))
    return model, time.monotonic() - start


if __name__ == "__main__":
    sys.exit(main())
