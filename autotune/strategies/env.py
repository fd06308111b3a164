"""Scheduling as a Markov decision process: a walk through a space that changes one decision at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from autotune.cost_models.features import SpaceEncoding, target_features, workload_features
from compiler.workloads.schedule import Schedule, ScheduleSpace

LogSecs = Callable[[Sequence[Schedule]], np.ndarray]  # log seconds per run, one for each schedule

_LOG2_SCALE = 32.0  # scales the log2 of sizes up to about 2^32 to [0, 1]
_BOUND = 4.0  # on the absolute value of every observation

NOT_OFFERED_REWARD = -1.0


class ScheduleMdp:
    """The rules of the process, for one walker or many. It has no state of a walker.

    A state is a schedule (the indices of its choices, as ``space.choices`` returns them) and the number of steps taken.

    *Actions* are all (decision, choice) pairs, numbered in the order of ``space.decisions``. The last action, ``stop``,
    ends the episode, as does the ``horizon``-th step.

    *Reward* is the decrease of ``log_secs`` in the step: a prediction, or a measurement if there is one. It is the
    difference of a potential, so the sum over an episode is the gain over its start, independent of the path (Ng,
    Harada, Russell: Policy invariance under reward transformations, ICML 1999).

    *Legal* actions lead to another legal schedule. If there are more than ``max_offers`` actions to check, each state
    offers the legal ones of a random sample of that size, which bounds the cost of a step. An action that is not
    offered changes nothing and has the reward ``NOT_OFFERED_REWARD``, for agents without action masks.

    *Observation*: target and workload features, the schedule's encoding, the used share of the horizon, and the log
    seconds by which the schedule is slower than the best start.

    Args:
        space: the space.
        log_secs: the potential, computed once per schedule until the next :meth:`begin`.
        starts: legal schedules that episodes start from.
        horizon: the largest number of steps of an episode.
        seed: the seed of the samples of offers.
        max_offers: the size of a sample of offers.
    """

    def __init__(
        self,
        space: ScheduleSpace,
        log_secs: LogSecs,
        starts: Sequence[Schedule],
        horizon: int,
        seed: int = 0,
        max_offers: int = 24,
    ) -> None:
        self.space = space
        self.horizon = horizon
        self.actions = [(i, j) for i, decision in enumerate(space.decisions) for j in range(len(decision.choices))]
        self.stop = len(self.actions)
        self._action_decision, self._action_choice = np.array(self.actions).T
        self._is_legal = cache(lambda choices: space.is_legal(space.schedule(choices)))
        self._log_secs = log_secs
        self._max_offers = max_offers
        self._rng = np.random.default_rng(seed)
        self._encoding = SpaceEncoding(space)
        fixed = {**target_features(space.target), **workload_features(space.workload)}
        self._fixed = np.array(list(fixed.values()), dtype=np.float32) / _LOG2_SCALE
        self.observation_space = spaces.Box(-_BOUND, _BOUND, (len(self._fixed) + len(self._encoding.names) + 2,))
        self.action_space = spaces.Discrete(self.stop + 1)
        self.begin(starts)

    def begin(self, starts: Sequence[Schedule]) -> None:
        """Sets new starts and discards all computed ``log_secs``, because more was measured."""
        self._known: dict[tuple[int, ...], float] = {}
        self._masks: dict[tuple[int, ...], np.ndarray] = {}
        self.starts = np.array([self.space.choices(schedule) for schedule in starts])
        self._best_log_secs = float(self.log_secs(self.starts).min())

    @property
    def visited(self) -> list[Schedule]:
        """All schedules whose log seconds were computed, in the order of their first visit."""
        return [self.space.schedule(choices) for choices in self._known]

    def log_secs(self, states: np.ndarray) -> np.ndarray:
        """Returns the log seconds, float64 (rows,), of schedules (rows, decisions). Computes new ones in one batch."""
        keys = [tuple(row) for row in states.tolist()]
        if new := [key for key in dict.fromkeys(keys) if key not in self._known]:
            log_secs = self._log_secs([self.space.schedule(key) for key in new])
            self._known.update(zip(new, log_secs.tolist(), strict=True))
        return np.array([self._known[key] for key in keys])

    def observe(self, states: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Returns the observations, float32 (rows, observation size)."""
        progress = np.stack([steps / self.horizon, self.log_secs(states) - self._best_log_secs], axis=1)
        fixed = np.broadcast_to(self._fixed, (len(states), len(self._fixed)))
        observation = np.concatenate([fixed, self._encoding(states), progress], axis=1, dtype=np.float32)
        return observation.clip(-_BOUND, _BOUND)

    def action_mask(self, state: np.ndarray) -> np.ndarray:
        """Returns which actions a state offers, bool (actions,). Stopping is always offered."""
        key = tuple(state.tolist())
        mask = self._masks.get(key)
        if mask is None:
            mask = self._masks[key] = np.zeros(self.stop + 1, dtype=bool)
            mask[self.stop] = True
            changes = np.flatnonzero(state[self._action_decision] != self._action_choice)
            if len(changes) > self._max_offers:
                changes = self._rng.choice(changes, self._max_offers, replace=False)
            for action in changes:
                i, j = self.actions[action]
                mask[action] = self._is_legal((*key[:i], j, *key[i + 1 :]))
        return mask

    def step(
        self, states: np.ndarray, steps: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Takes ``actions`` (rows,). Returns the next states, the rewards float64 (rows,), and whether episodes end."""
        offered = np.array([self.action_mask(state)[a] for state, a in zip(states, actions, strict=True)])
        after = states.copy()
        rows = np.flatnonzero(offered & (actions != self.stop))
        after[rows, self._action_decision[actions[rows]]] = self._action_choice[actions[rows]]
        rewards = np.where(offered, self.log_secs(states) - self.log_secs(after), NOT_OFFERED_REWARD)
        return after, rewards, (actions == self.stop) | (steps + 1 >= self.horizon)


class ScheduleEnv(gymnasium.Env[np.ndarray, np.int64]):
    """One walker of a :class:`ScheduleMdp`. ``info["schedule"]`` is its present schedule."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - gymnasium declares it so

    def __init__(self, mdp: ScheduleMdp) -> None:
        self.mdp = mdp
        self.observation_space = mdp.observation_space
        self.action_space = mdp.action_space
        self._state = mdp.starts[:1]
        self._steps = np.zeros(1, dtype=int)

    def action_masks(self) -> np.ndarray:
        """Returns which actions are offered now, bool (actions,)."""
        return self.mdp.action_mask(self._state[0])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts at ``options["schedule"]`` if given, otherwise at a random start."""
        super().reset(seed=seed)
        if options and "schedule" in options:
            self._state = np.array([self.mdp.space.choices(options["schedule"])])
        else:
            self._state = self.mdp.starts[[self.np_random.integers(len(self.mdp.starts))]]
        self._steps = np.zeros(1, dtype=int)
        return self._observation(), self._info()

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._state, rewards, ends = self.mdp.step(self._state, self._steps, np.array([action]))
        self._steps = self._steps + 1
        return self._observation(), float(rewards[0]), bool(ends[0]), False, self._info()

    def _observation(self) -> np.ndarray:
        return self.mdp.observe(self._state, self._steps)[0]

    def _info(self) -> dict[str, Any]:
        return {"schedule": self.mdp.space.schedule(self._state[0].tolist())}
