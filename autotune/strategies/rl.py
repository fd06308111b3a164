"""Reinforcement-learning search: an agent learns to walk through a space to schedules that are predicted to be fast.

The agent is PPO (Schulman et al., 2017) with invalid actions masked out (Huang, Ontañón, 2022), from sb3-contrib.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from autotune.strategies.base import ModelGuidedStrategy, draw
from autotune.strategies.env import ScheduleMdp
from compiler.workloads.schedule import Schedule


class RlStrategy(ModelGuidedStrategy):
    """Trains one agent during the entire search, for a fixed number of steps before each round.

    Its walks start from the default, the schedule measured last, the fastest ones and some random ones. The reward of a
    step comes from the cost model, or from measurements if both schedules were measured. All visited schedules are
    candidates. The agent keeps what it learned for the next round, in which the cost model has more data.
    """

    walkers = 64
    steps = 8  # per walker between two updates of the agent
    updates = 3  # of the agent per round

    _agent: MaskablePPO | None = None

    @cached_property
    def mdp(self) -> ScheduleMdp:
        return ScheduleMdp(
            self.space,
            self._measured_or_predicted,
            starts=[self.space.default()],
            horizon=max(8, len(self.space.decisions)),
            seed=self.seed,
        )

    def explore(self) -> Iterable[Schedule]:
        starts = [self.space.default(), *list(self.measured)[-1:], *self.fastest(8)]
        self.mdp.begin(starts + draw(self.space, self.rng, 8, starts))
        self.train(self.updates)
        return self.mdp.visited

    def train(self, updates: int) -> MaskablePPO:
        """Runs the walkers and updates the agent, ``updates`` times. Returns the agent."""
        with _separate_randomness(int(self.rng.integers(2**31))):
            if self._agent is None:
                self._agent = MaskablePPO(
                    "MlpPolicy",
                    Walkers(self.mdp, self.walkers, self.seed),
                    learning_rate=2e-3,
                    n_steps=self.steps,
                    batch_size=128,
                    n_epochs=4,
                    gamma=1.0,  # episodes are short, and the sum of their rewards is the objective
                    gae_lambda=0.9,
                    ent_coef=0.01,
                    policy_kwargs={"net_arch": [64, 64]},
                    device="cpu",
                )
                self._agent.set_logger(Logger(folder=None, output_formats=[]))  # the default one creates a folder
            self._agent.learn(updates * self.steps * self.walkers, log_interval=None)  # pyright: ignore[reportArgumentType]
        return self._agent

    def _measured_or_predicted(self, schedules: Sequence[Schedule]) -> np.ndarray:
        log_secs = self.log_secs(schedules)
        for i, schedule in enumerate(schedules):
            measurement = self.measured.get(schedule)
            if measurement is not None and measurement.ok:
                log_secs[i] = np.log(measurement.median_secs)
        return log_secs


class Walkers(VecEnv):
    """Many walkers of one :class:`ScheduleMdp` that step together, so that the cost model predicts in batches."""

    def __init__(self, mdp: ScheduleMdp, count: int, seed: int) -> None:
        self.mdp = mdp
        self.render_mode = None
        self._rng = np.random.default_rng(seed)
        self._states = np.repeat(mdp.starts[:1], count, axis=0)
        self._steps = np.zeros(count, dtype=int)
        self._actions = np.zeros(count, dtype=int)
        super().__init__(count, mdp.observation_space, mdp.action_space)

    def action_masks(self, walker: int) -> np.ndarray:
        return self.mdp.action_mask(self._states[walker])

    def reset(self) -> np.ndarray:
        self._restart(np.arange(self.num_envs))
        return self.mdp.observe(self._states, self._steps)

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        self._states, rewards, ends = self.mdp.step(self._states, self._steps, self._actions)
        self._steps += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if ended := np.flatnonzero(ends).tolist():
            last = self.mdp.observe(self._states[ended], self._steps[ended])
            for walker, observation in zip(ended, last, strict=True):
                infos[walker]["terminal_observation"] = observation
            self._restart(np.array(ended))
        return self.mdp.observe(self._states, self._steps), rewards, ends, infos

    def _restart(self, walkers: np.ndarray) -> None:
        self._states[walkers] = self._rng.choice(self.mdp.starts, len(walkers))
        self._steps[walkers] = 0

    def close(self) -> None:
        pass

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("walkers share their attributes")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return [getattr(self, method_name)(walker, *args, **kwargs) for walker in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:  # noqa: ARG002 - VecEnv's signature
        return [False] * len(list(self._get_indices(indices)))


@contextmanager
def _separate_randomness(seed: int) -> Iterator[None]:
    """Seeds the global random generators that stable-baselines3 uses, runs torch on one thread, and restores both.

    So equal searches propose equal schedules, whatever the surrounding program draws, and do not affect it.
    """
    python, numpy, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            torch.set_num_threads(threads)
