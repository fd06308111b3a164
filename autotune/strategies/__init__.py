"""Search strategies, one file each."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from autotune.strategies.base import SearchStrategy
from compiler.installation import extras

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


def require(name: str) -> None:
    """Checks that the packages of a strategy and of the cost model are installed, without importing them.

    Raises:
        ValueError: no strategy has this name.
        ModuleNotFoundError: a package is missing; one line names it and the extra that installs it.
    """
    check(name)
    extras.require(f"the strategy {name}", "search", *(extras.EXTRAS["search"] if name == "rl" else ("xgboost",)))


def load(name: str) -> type[SearchStrategy]:
    """Returns the strategy class of a name.

    Raises:
        ValueError: no strategy has this name.
    """
    check(name)
    module, _, strategy = STRATEGIES[name].rpartition(".")
    return getattr(import_module(module), strategy)
