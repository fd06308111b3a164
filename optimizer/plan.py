"""Plans of pruning: which channels each group keeps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.installation import extras
from optimizer.messages import one_line

if TYPE_CHECKING:
    import onnx

    from optimizer.pruning.groups import Group, Groups

FORMAT = 1
_LARGEST_FILE = 2**26  # bytes; a plan of a million channels takes 8 MB


@dataclass(frozen=True)
class KeptChannels:
    """The channels that one group keeps.

    Attributes:
        name: the group, by the node that makes its channels.
        channels: how many sets of channels it has: single channels, or heads of an attention, for example.
        kept: the indices of those that stay, ascending.
    """

    name: str
    channels: int
    kept: tuple[int, ...]


@dataclass(frozen=True)
class Latency:
    """Seconds of one run of the entire compiled model.

    Attributes:
        threads: of the runs.
        before: of the original: the least of several medians.
        after: of the pruned model: ``before`` times the ratio of both medians, measured in turns.
        predicted: what the costs predicted for the pruned model, before it was measured.
    """

    threads: int
    before: float
    after: float
    predicted: float


@dataclass(frozen=True)
class Plan:
    """Which channels of a model stay. It applies to all models of the same topology.

    Attributes:
        topology: digest of the structure of the model (:mod:`optimizer.pruning.topology`).
        groups: the groups whose channels may be removed, in the order of the nodes.
        importance, cost: how they were chosen.
        latency: what was measured, if the choice had a limit of latency.
    """

    topology: str
    groups: tuple[KeptChannels, ...]
    importance: str
    cost: str
    latency: Latency | None = None

    def apply(self, model: Any, example_inputs: Sequence[Any] | Mapping[str, Any] | None = None) -> Any:
        """Returns a model without the channels that the plan removes.

        Args:
            model: the path of a model, a model, or a PyTorch module, of which a copy is returned. Its weights may
                differ from those that the plan was made for.
            example_inputs: of a PyTorch module, as for :func:`compiler.build`.

        Raises:
            ValueError: the model is not valid, is quantized, has another topology, or cannot be exported or traced. The
                message is one line.
            OSError: a file cannot be read.
            ImportError: torch-pruning is missing, which prunes modules.
        """
        from compiler.convert.source import exported, is_torch_module
        from optimizer.pruning.prepared import prepared

        if not is_torch_module(model):
            return self.apply_prepared(prepared(exported(model, example_inputs)))
        extras.require("pruning a PyTorch module", "training")
        from optimizer.pruning.torch_module import pruned

        return pruned(model, example_inputs, self)

    def apply_prepared(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """As :meth:`apply`, for a model of :func:`optimizer.pruning.prepared.prepared`."""
        from optimizer.pruning import topology
        from optimizer.pruning.groups import find
        from optimizer.pruning.removal import without

        if topology.digest(model) != self.topology:
            raise ValueError("the plan is for a model of another topology")
        groups = find(model)
        return without(model, groups, self.removed(groups))

    def removed(self, groups: Groups) -> list[int]:
        """Returns the numbers of the sets of channels that are removed; ``groups`` are those of the model.

        Raises:
            ValueError: the plan has other groups; the message is one line.
        """
        return [root for group, kept in self.matched(groups) for root in np.delete(group.roots, kept.kept).tolist()]

    def matched(self, groups: Groups) -> list[tuple[Group, KeptChannels]]:
        """Returns groups of the model with what they keep. Those that the plan does not have keep all channels.

        Raises:
            ValueError: the plan has other groups; the message is one line.
        """
        pairs = list(zip(groups.free, self.groups, strict=False))
        if len(groups.free) != len(self.groups):  # made for a module, or when fewer groups were found
            wanted = {kept.name: kept for kept in self.groups}
            pairs = [(group, wanted[group.name]) for group in groups.free if group.name in wanted]
        if len(pairs) < len(self.groups) or any(len(group) != kept.channels for group, kept in pairs):
            raise ValueError("the plan has other groups of channels than the model")
        return pairs

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "topology": self.topology,
            "importance": self.importance,
            "cost": self.cost,
            "groups": [
                {"name": group.name, "channels": group.channels, "kept": list(group.kept)} for group in self.groups
            ],
            "latency": None if self.latency is None else dict(vars(self.latency)),
        }

    @classmethod
    def from_json(cls, fields: Any) -> Plan:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: the fields are not those of a plan; the message is one line.
        """
        entries = _fields(fields, "a plan", ("format", "topology", "importance", "cost", "groups", "latency"))
        if type(entries["format"]) is not int or entries["format"] != FORMAT:
            raise ValueError(f"the plan has format {entries['format']!r}; this version reads {FORMAT}")
        if not isinstance(entries["topology"], str) or not re.fullmatch("[0-9a-f]{64}", entries["topology"]):
            raise ValueError("the plan has no valid digest of a topology")
        if not isinstance(entries["groups"], list):
            raise ValueError("the groups of the plan are not a list")
        groups = tuple(map(_group, entries["groups"]))
        texts = [entries[name] for name in ("importance", "cost")]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("importance and cost of the plan must be texts")
        return cls(entries["topology"], groups, texts[0], texts[1], _latency(entries["latency"]))

    def save(self, path: str | Path) -> None:
        """Writes the plan as JSON.

        Raises:
            OSError: the file cannot be written.
        """
        Path(path).write_text(json.dumps(self.to_json(), allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Reads a plan.

        Raises:
            ValueError: the file is not a plan; the message is one line.
            OSError: the file cannot be read.
        """
        path = Path(path)
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise ValueError(f"it has more than {_LARGEST_FILE >> 20} MiB")
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise type(error)(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
            raise ValueError(f"{path} is not a plan: {one_line(error)}") from None


def _fields(value: Any, what: str, names: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise ValueError(f"{what} must have exactly the entries {', '.join(names)}")
    return value


def _group(value: Any) -> KeptChannels:
    entries = _fields(value, "a group of the plan", ("name", "channels", "kept"))
    name, channels, kept = entries["name"], entries["channels"], entries["kept"]
    if not isinstance(name, str) or type(channels) is not int or not isinstance(kept, list):
        raise ValueError("a group of the plan must have a text, a number and a list")
    if not all(type(index) is int for index in kept) or sorted(set(kept)) != kept:
        raise ValueError(f"the kept channels of group {name!r} are not ascending numbers")
    if not kept or kept[0] < 0 or kept[-1] >= channels:
        raise ValueError(f"the kept channels of group {name!r} are not one or more of 0 to {channels - 1}")
    return KeptChannels(name, channels, tuple(kept))


def _latency(value: Any) -> Latency | None:
    if value is None:
        return None
    entries = _fields(value, "the latency of the plan", ("threads", "before", "after", "predicted"))
    seconds = [entries[name] for name in ("before", "after", "predicted")]
    if type(entries["threads"]) is not int or entries["threads"] < 1:
        raise ValueError("the latency of the plan has no number of threads")
    if not all(type(number) in (int, float) and 0 < number < float("inf") for number in seconds):
        raise ValueError("the latency of the plan has seconds that are not above 0")
    return Latency(entries["threads"], *map(float, seconds))
