"""Search strategies, one file each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from autotune.strategies.base import SearchStrategy

# The class of each strategy, imported only when it is used, so that listing them does not load torch.
STRATEGIES: Mapping[str, str] = {
    "rl": "autotune.strategies.rl.RlStrategy",
    "evolutionary": "autotune.strategies.evolutionary.EvolutionaryStrategy",
    "random": "autotune.strategies.random.RandomStrategy",
}


def check(name: str) -> None:
    """Checks the name of a strategy without loading it.

    Raises:
        ValueError: no strategy has this name.
    """
    if name not in STRATEGIES:
        raise ValueError(f"unknown strategy {name!r}; choose from: {', '.join(STRATEGIES)}")


def load(name: str) -> type[SearchStrategy]:
    """Returns the strategy class of a name.

    Raises:
        ValueError: no strategy has this name.
    """
    check(name)
    module, _, strategy = STRATEGIES[name].rpartition(".")
    return getattr(import_module(module), strategy)
