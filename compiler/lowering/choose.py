"""Second step of lowering: how each kernel runs. Works on values alone and does not read the graph."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from compiler.lowering.call import Call
from compiler.lowering.precision import InBfloat16, between_layers
from compiler.lowering.recognize import Match
from compiler.lowering.schedule_source import NoSchedules, ScheduleSource
from compiler.lowering.user_operator import Operators
from compiler.workloads.layer import Layer
from compiler.workloads.operators import LAYER_SCHEMAS
from compiler.workloads.precision import BFLOAT16
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.threads import threads_for


@dataclass(frozen=True)
class Options:
    """Options of lowering.

    Attributes:
        schedules: known schedules. A choice for the entire model takes precedence, and also sets threads.
        fast_algorithms: whether layers may use Winograd's and Strassen's algorithms, which round more than a plain sum.
        chains: whether neighboring convolutions may run as one kernel.
        precision: ``float32``, or ``bfloat16`` for the layers that are faster in it.
        operators: the operators of users, which are part of the program.
    """

    schedules: ScheduleSource = field(default_factory=NoSchedules)
    fast_algorithms: bool = True
    chains: bool = True
    precision: str = "float32"
    operators: Operators | None = None


@dataclass(frozen=True)
class Plan:
    """How the matches of a model run.

    Attributes:
        layers: the distinct layers, in order of their first calls. Equal weights are one array.
        places: for each match, the index of its layer. Layers that differ in name only are one, as in an unrolled
            recurrence.
    """

    layers: tuple[Layer, ...]
    places: tuple[int, ...]


def choose(matches: Sequence[Match], target: Target, options: Options) -> Plan:
    """Chooses threads and schedules for the calls of a model."""
    calls = [match.call for match in matches]
    if options.precision == BFLOAT16:
        calls = between_layers(matches, list(map(InBfloat16(target, options.fast_algorithms), calls)), target)
    plan = _distinct([_layer(match, call, target, options) for match, call in zip(matches, calls, strict=True)])
    return replace(plan, layers=_scheduled(plan.layers, target, options))


def _layer(match: Match, call: Call, target: Target, options: Options) -> Layer:
    threads = threads_for(call.workload, target)
    attributes = dict(call.attributes)
    if "fast_algorithms" in LAYER_SCHEMAS[call.op].attributes:
        attributes["fast_algorithms"] = options.fast_algorithms and not call.exact
    return Layer(match.name, call.op, match.output_shape, attributes, call.weights, call.workload, call.stages, threads)


def _distinct(layers: Sequence[Layer]) -> Plan:
    distinct: list[Layer] = []
    places: dict[Hashable, int] = {}
    place_of_match = []
    for layer in layers:
        weights = [(name, id(weight)) for name, weight in layer.weights.items()]  # equal weights are one array
        key = (layer.op, layer.workload, json.dumps(layer.attributes), layer.output_shape, *weights)
        place = places.setdefault(key, len(distinct))
        if place == len(distinct):
            distinct.append(layer)
        else:
            distinct[place] = replace(distinct[place], calls=distinct[place].calls + 1)
        place_of_match.append(place)
    return Plan(tuple(distinct), tuple(place_of_match))


def _scheduled(layers: Sequence[Layer], target: Target, options: Options) -> tuple[Layer, ...]:
    source = options.schedules
    workloads = [layer.workload for layer in layers if layer.workload is not None]
    for_model = source.for_model(workloads, target)

    def scheduled(layer: Layer) -> Layer:
        if layer.workload is None:
            return layer
        choice = for_model.get(layer.workload)
        fast = layer.attributes.get("fast_algorithms", options.fast_algorithms)
        if choice is not None and _is_allowed(choice.schedule, fast):
            return replace(layer, schedule=choice.schedule, threads=choice.threads)
        schedule = source.for_workload(layer.workload, replace(target, num_cores=layer.threads))
        return layer.scheduled(schedule if schedule is not None and _is_allowed(schedule, fast) else None)

    return tuple(map(scheduled, layers))


def _is_allowed(schedule: Schedule, fast_algorithms: bool) -> bool:
    direct = schedule.values.get("algorithm", "direct") == "direct"
    return schedule.backend == "kernel" and (fast_algorithms or direct)
