"""Measures candidates next to each other and chooses one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from compiler.measure.comparison import speedup
from compiler.measure.sampling import Samples, measure
from compiler.program.choice import COMPILED, Choice
from compiler.program.compiled_model import CompiledModel
from compiler.tuning.candidates import Make

SECONDS, ROUNDS = 1.0, 10  # of timed runs of each candidate; a slow one takes longer
MARGIN = 1.02  # the least speedup for which the program is not compiled

# Returns the samples of functions that take turns, by name; one call is one run.
Sampler = Callable[[Mapping[str, Callable[[], object]]], Mapping[str, Samples]]


def sampled(runs: Mapping[str, Callable[[], object]]) -> dict[str, Samples]:
    """Measures on this machine. Each slice begins when the threads of the one before sleep."""
    return measure(runs, SECONDS, ROUNDS)


def choose(
    candidates: Mapping[str, Make], inputs: Mapping[str, np.ndarray], sampler: Sampler | None = None
) -> tuple[CompiledModel, Choice]:
    """Returns the fastest candidate, and what was measured.

    The compiled program stays unless the lower end of the 95 % interval of another candidate's speedup is above
    ``MARGIN``. A candidate that cannot be made, or whose outputs have other types or shapes, is left out.

    Args:
        candidates: functions that make the candidates, by name; the first one is ``COMPILED``.
        inputs: the inputs of the runs.
        sampler: measures the runs; :func:`sampled` if None.

    Raises:
        ValueError: the compiled program does not run on the inputs.
    """
    ready: dict[str, CompiledModel] = {}
    left_out: dict[str, str] = {}
    expected: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, make in candidates.items():
        try:
            program = make()
            found = _kinds(program.run(inputs))
        except (RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            if name == COMPILED:
                raise ValueError(
                    f"tune=True runs the model on {', '.join(inputs) or 'no inputs'}, and it fails: {reason}; give "
                    "inputs that suit it with check="
                ) from None
            left_out[name] = reason
            continue
        expected = expected or found
        if found != expected:
            left_out[name] = f"its outputs are {_listed(found)}, not {_listed(expected)}"
            continue
        ready[name] = program
    samples = (sampler or sampled)({name: partial(program.run, inputs) for name, program in ready.items()})
    ratios = {name: speedup(samples[name], samples[COMPILED]) for name in ready if name != COMPILED}
    faster = [name for name, ratio in ratios.items() if ratio.low > MARGIN]
    chosen = max(faster, key=lambda name: ratios[name].value, default=COMPILED)
    return ready[chosen], Choice(
        chosen,
        {name: samples[name].latencies.median for name in ready},
        {name: (ratio.value, ratio.low, ratio.high) for name, ratio in ratios.items()},
        left_out,
    )


def _kinds(outputs: Mapping[str, object]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Returns the type and the shape of each output."""
    return {
        name: (value.dtype.name, value.shape) if isinstance(value, np.ndarray) else (type(value).__name__, ())
        for name, value in outputs.items()
    }


def _listed(kinds: Mapping[str, tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {dtype}{list(shape)}" for name, (dtype, shape) in kinds.items())
