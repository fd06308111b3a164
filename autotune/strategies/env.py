"""Scheduling as a Markov decision process: a walk through a space, one decision changed at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from autotune.cost_models.features import SpaceEncoding, target_features, workload_features
from compiler.workloads.schedule import Schedule, ScheduleSpace

LogSecs = Callable[[Sequence[Schedule]], np.ndarray]  # log seconds a run, one for each schedule

_LOG2_SCALE = 32.0  # brings the log2 of any size, up to 2^32 and a little more, near [0, 1]
_BOUND = 4.0  # of every observed number

NOT_OFFERED_REWARD = -1.0


class ScheduleMdp:
    """The rules, by which one walker plays as well as many at once; it keeps no walker's state.

    A state is a schedule (the choices' indices, as ``space.choices`` gives them) and the number of steps taken.

    *Actions* are numbered through all (decision, choice) pairs in the order of ``space.decisions``; the last action,
    ``stop``, ends the episode, as does the ``horizon``-th step.

    *Reward* is the fall of log seconds by the step, by ``log_secs``: between measurements the cost model's word, and
    the truth where it is known. It is the difference of a potential, so that an episode's sum is what it gained over
    its start, whatever way it took (Ng, Harada, Russell: Policy invariance under reward transformations, ICML 1999).

    *Legal* actions lead to a legal schedule other than the present one. Where a space has more than ``max_offers``
    of them to check, each state offers those of a random sample of that many: the set to choose from differs from
    state to state, all that is offered is legal, and a step's cost stays bounded. An action that is not offered
    changes nothing and is rewarded with ``NOT_OFFERED_REWARD``, for agents that know no masks.

    *Observation*: target and workload features, the schedule's encoding, the share of the horizon used up, and the
    log seconds by which the schedule is slower than the best start.

    Args:
        log_secs: the potential; asked once for each schedule until the next :meth:`begin`.
        starts: legal schedules that episodes start from.
        horizon: most steps of an episode.
        seed: of the samples of offers.
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
        """New starts, and a new word of ``log_secs`` on every schedule: more was measured."""
        self._known: dict[tuple[int, ...], float] = {}
        self._masks: dict[tuple[int, ...], np.ndarray] = {}
        self.starts = np.array([self.space.choices(schedule) for schedule in starts])
        self._best_log_secs = float(self.log_secs(self.starts).min())

    @property
    def visited(self) -> list[Schedule]:
        """Every schedule whose log seconds were asked for, in order of the first visit."""
        return [self.space.schedule(choices) for choices in self._known]

    def log_secs(self, states: np.ndarray) -> np.ndarray:
        """log seconds float64 (rows,) of schedules (rows, decisions); asks for each new one once, all in one batch."""
        keys = [tuple(row) for row in states.tolist()]
        if new := [key for key in dict.fromkeys(keys) if key not in self._known]:
            log_secs = self._log_secs([self.space.schedule(key) for key in new])
            self._known.update(zip(new, log_secs.tolist(), strict=True))
        return np.array([self._known[key] for key in keys])

    def observe(self, states: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """float32 (rows, observation size)."""
        progress = np.stack([steps / self.horizon, self.log_secs(states) - self._best_log_secs], axis=1)
        fixed = np.broadcast_to(self._fixed, (len(states), len(self._fixed)))
        observation = np.concatenate([fixed, self._encoding(states), progress], axis=1, dtype=np.float32)
        return observation.clip(-_BOUND, _BOUND)

    def action_mask(self, state: np.ndarray) -> np.ndarray:
        """bool (actions,): what may be done in this state; stopping always may."""
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
        """What ``actions`` (rows,) do: the next states, the rewards float64 (rows,) and whether the episodes end."""
        offered = np.array([self.action_mask(state)[a] for state, a in zip(states, actions, strict=True)])
        after = states.copy()
        rows = np.flatnonzero(offered & (actions != self.stop))
        after[rows, self._action_decision[actions[rows]]] = self._action_choice[actions[rows]]
        rewards = np.where(offered, self.log_secs(states) - self.log_secs(after), NOT_OFFERED_REWARD)
        return after, rewards, (actions == self.stop) | (steps + 1 >= self.horizon)


class ScheduleEnv(gymnasium.Env[np.ndarray, np.int64]):
    """One walker of a :class:`ScheduleMdp`; ``info["schedule"]`` is where it stands."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - gymnasium's own declaration

    def __init__(self, mdp: ScheduleMdp) -> None:
        self.mdp = mdp
        self.observation_space = mdp.observation_space
        self.action_space = mdp.action_space
        self._state = mdp.starts[:1]
        self._steps = np.zeros(1, dtype=int)

    def action_masks(self) -> np.ndarray:
        """bool (actions,): the actions that are legal now."""
        return self.mdp.action_mask(self._state[0])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts at ``options["schedule"]``, or else at a random one of the starts."""
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
