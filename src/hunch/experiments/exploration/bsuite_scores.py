"""bsuite's scores from what happened in each episode, without bsuite.

bsuite writes a log at episodes 1, 2, …, 9, 10, 12, 14, 17, 20, 25, 30, 40, …, 90, 100, 120, … and
computes its scores, all between 0 and 1, from those lines alone:

- deep sea: an id is solved at the first logged episode at which the share of bad episodes so far is
  below 0.9 (stochastic: below 0.8, from episode 100 on); it counts if that is before 2ᴺ + 100.
  The score is the share of ids that count.
- catch, bandit, mountain car: one minus the mean regret per episode in units of a baseline's.
- cartpole and swing-up: half of it that, half whether the best episode is good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from hunch.errors import ConfigurationError
from hunch.experiments.exploration.bsuite_problems import problem

Array = npt.NDArray[np.float64]
SolvedBy = Literal["logged", "exact"]

_STEPS: Final = (10, 12, 14, 17, 20, 25, 30, 40, 50, 60, 70, 80, 90)  # of each decade, in tenths
_FORGIVENESS: Final = 100  # episodes above 2ᴺ in which deep sea may still be solved


@dataclass(frozen=True)
class _Rule:
    """How returns become a score: the return without regret, the regret of score 0, a good one."""

    ideal: float
    baseline: float
    good: float | None = None


_RULES: Final = {
    "catch": _Rule(1.0, 1.6),
    "bandit": _Rule(1.0, 0.5),
    "mountain_car": _Rule(-100.0, 1000.0),
    "cartpole": _Rule(1000.0, 1000.0, good=500.0),
    "cartpole_swingup": _Rule(700.0, 700.0, good=100.0),
}


@dataclass(frozen=True)
class SeaRule:
    """When bsuite calls a deep sea solved: share of bad episodes, and from which episode on."""

    bad_share: float
    first_episode: int


SEA_RULES: Final = {"deep_sea": SeaRule(0.9, 1), "deep_sea_stochastic": SeaRule(0.8, 100)}


@dataclass(frozen=True)
class Solved:
    """The episode, counted from 1, in which a deep sea was solved; None if it was not."""

    exact: int | None  # the first episode after which the share of bad episodes is below the bound
    # The first such episode among those that bsuite logs, which is what it scores; never before
    # `exact`, and None if the run ended before the next logged episode.
    logged: int | None


def is_logged(episode: int) -> bool:
    """Whether bsuite writes a line to its log after this episode, counted from 1.

    Example:
        >>> [episode for episode in range(1, 31) if is_logged(episode)]
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 25, 30]
    """
    if episode < 1:
        return False
    decade: int = 10 ** (len(str(int(episode))) - 1)
    return any(10 * episode == step * decade for step in _STEPS)


def logged_episodes(num_episodes: int) -> npt.NDArray[np.int64]:
    """The episodes that bsuite logs in a run of so many, in order.

    Example:
        >>> logged_episodes(10_000)[-4:].tolist()
        [7000, 8000, 9000, 10000]
    """
    decades = range(len(str(max(int(num_episodes), 1))))
    # Below 10 the schedule has every whole number and no other.
    steps = np.array([10**d * step / 10 for d in decades for step in _STEPS])
    whole = steps[(steps == np.floor(steps)) & (steps <= num_episodes)]
    logged: npt.NDArray[np.int64] = whole.astype(np.int64)
    return logged


def solved(bad: npt.ArrayLike, *, name: str = "deep_sea") -> Solved:
    """When a deep sea was solved.

    A run may stop at `logged`: what it would do afterwards changes nothing, and to find it, asking
    at the episodes of `is_logged` is enough. If a run stops at `exact` between two logged episodes,
    bsuite's own verdict is not known.

    Args:
        bad: whether each episode, in order, left the best path by the agent's own action, `(n,)`:
            `info["bad_episode"]` of its last step.
        name: `"deep_sea"` or `"deep_sea_stochastic"`.

    Raises:
        ConfigurationError: if `bad` is not a row of true and false, or `name` no deep sea.

    Example:
        >>> solved([True] * 130 + [False] * 100)
        Solved(exact=145, logged=170)
    """
    if name not in SEA_RULES:
        raise ConfigurationError(f"`name` got {name!r}; expected {' or '.join(SEA_RULES)}.")
    rule, flags = SEA_RULES[name], _flags(bad)[: problem(name).num_episodes]
    episodes = np.arange(1, len(flags) + 1)
    below = np.cumsum(flags) / episodes < rule.bad_share
    below &= episodes >= rule.first_episode
    exact = episodes[below]
    logged = np.intersect1d(exact, logged_episodes(len(flags)))
    return Solved(*(int(found[0]) if len(found) else None for found in (exact, logged)))


def score(
    name: str,
    runs: Mapping[int, npt.ArrayLike],
    *,
    num_episodes: int | None = None,
    solved_by: SolvedBy = "logged",
) -> float:
    """One agent's score on one experiment as bsuite computes it, in [0, 1].

    Args:
        name: the experiment, a key of `PROBLEMS`.
        runs: for each id that was played what happened in its episodes, in order, `(n,)`: for deep
            sea whether an episode was bad, else its return. Ids may be missing; the score is that
            of those there are.
        num_episodes: how many episodes are scored; the experiment's own number if None. With fewer,
            a deep sea that is not solved by then counts as unsolved.
        solved_by: for deep sea, which episode counts as the solved one: bsuite's `"logged"` one, or
            the `"exact"` one, by which a score can only be higher.

    Raises:
        ConfigurationError: if there is no such experiment or id, a run is empty or has other values
            than expected; for deep sea also if a run ended before `num_episodes` while it could
            still have been solved.

    Example:
        >>> score("catch", {0: [1.0] * 9000 + [-1.0] * 1000})
        0.875
        >>> score("deep_sea", {0: [True] * 120 + [False] * 20, 20: [True] * 10_000})
        0.5

    Note:
        For a run shorter than `num_episodes` the regret is that at its last logged episode. Among
        ids of different lengths bsuite takes the longest and forgets the others' regret; so does
        this.

    Source: Osband et al., "Behaviour Suite for Reinforcement Learning" (2020), as computed by
    bsuite 0.3.6.
    """
    num_ids, own = problem(name).num_ids, problem(name).num_episodes
    if not runs or not all(i in range(num_ids) for i in runs):
        raise ConfigurationError(
            f"`runs` got ids {sorted(runs)}; {name!r} has ids from 0 to {num_ids - 1}: give at "
            "least one of them."
        )
    budget = own if num_episodes is None else num_episodes
    if not 1 <= budget <= own:
        raise ConfigurationError(f"`num_episodes` got {budget!r}; expected 1 to {own}.")
    if solved_by not in ("logged", "exact"):
        raise ConfigurationError(f"`solved_by` got {solved_by!r}; expected 'logged' or 'exact'.")
    if name in SEA_RULES:
        counts = [_sea_counts(name, i, run, budget, solved_by) for i, run in runs.items()]
        return float(np.mean(counts))
    histories = [_returns(run)[:budget] for run in runs.values()]
    if name == "cartpole_swingup":
        # Its ids differ in difficulty: bsuite scores each by itself.
        return float(np.mean([_score_returns(_RULES[name], [history]) for history in histories]))
    return _score_returns(_RULES[name], histories)


def _score_returns(rule: _Rule, histories: Sequence[Array]) -> float:
    """Of ids that bsuite scores together."""
    lasts = [int(logged_episodes(len(history))[-1]) for history in histories]
    longest = max(lasts)
    regrets = [
        rule.ideal - history[:longest].sum() / longest
        for history, last in zip(histories, lasts, strict=True)
        if last == longest
    ]
    share = float(np.clip((rule.baseline - np.mean(regrets)) / rule.baseline, 0.0, 1.0))
    if rule.good is None:
        return share
    best = [history[:last].max() for history, last in zip(histories, lasts, strict=True)]
    return 0.5 * (share + float(np.mean(np.array(best) > rule.good)))


def _sea_counts(
    name: str, index: int, run: npt.ArrayLike, budget: int, solved_by: SolvedBy
) -> bool:
    """Whether an id counts as solved; see `score`."""
    flags = _flags(run)[:budget]
    limit = 2 ** problem(name).settings[index]["size"] + _FORGIVENESS
    found = solved(flags, name=name)
    episode = found.logged if solved_by == "logged" else found.exact
    if episode is None and _is_open(name, flags, min(budget, limit - 1), solved_by):
        raise ConfigurationError(
            f"`runs` got id {index} of {name!r} with {len(flags)} episodes and not solved (by its "
            f"{solved_by} episodes), but it still could be; play on until `solved` says so, or "
            "give `num_episodes` as the budget."
        )
    return episode is not None and episode < limit


def _is_open(name: str, flags: npt.NDArray[np.bool_], last: int, solved_by: SolvedBy) -> bool:
    """Whether the share of bad episodes could fall below the bound by episode `last`."""
    if solved_by == "logged":
        last = int(logged_episodes(last)[-1])
    enough = last >= SEA_RULES[name].first_episode
    return enough and last > len(flags) and flags.sum() / last < SEA_RULES[name].bad_share


def _flags(bad: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    row = np.asarray(bad)
    _check_row(row, "true or false")
    if row.dtype != np.bool_ and not np.isin(row, (0, 1)).all():
        raise ConfigurationError("`bad` got other values than true and false; expected flags.")
    return row.astype(np.bool_)


def _returns(run: npt.ArrayLike) -> Array:
    row = np.asarray(run)
    _check_row(row, "a return")
    if row.dtype.kind not in "fiu" or not np.isfinite(row).all():
        raise ConfigurationError("`runs` got a return that is no finite number.")
    return row.astype(np.float64)


def _check_row(row: npt.NDArray[Any], what: str) -> None:
    if row.ndim != 1 or not len(row):
        raise ConfigurationError(
            f"a run got shape {row.shape}; expected (episodes,), {what} for each, at least one."
        )
