"""Environments made at random that write down what they say, and what an agent should hold of it.

`Told` is the outermost wrapper of every single environment: it answers in one of the many ways in
which environments answer, writes each answer into a journal, and at one point, if asked to, gives
an answer that nobody should take. `Batch` is a vector environment of such environments in any form
of batch. `account_of` turns a journal into what an agent was told, round by round.
"""

import dataclasses

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

REWARDS = (0.0, 1.0, -1.0, 0.125, -2.5, 0.1, 1 / 3, 16777217.0)


@dataclasses.dataclass(frozen=True)
class Manner:
    """How an environment answers.

    Args:
        shape, dtype: of the observations that its space promises.
        given: the form in which it gives them.
        actions: their number and the first one; or a box, as low and high.
        lengths: steps of each episode, over and over.
        ends: how each ends, over and over.
        reward, flag: types of those.
        reuse: whether one array holds all observations, and one dict all infos.
        scribbles: whether it writes into the actions that it gets.
        wrapper: between the environment and its journal.
    """

    shape: tuple
    dtype: str
    given: str
    actions: tuple
    lengths: tuple
    ends: tuple
    reward: str
    flag: str
    reuse: bool
    scribbles: bool
    wrapper: str

    @property
    def floating(self):
        return np.dtype(self.dtype).kind == "f"

    @property
    def space(self):
        if self.floating:
            return spaces.Box(-np.inf, np.inf, self.shape, np.dtype(self.dtype))
        info = np.iinfo(self.dtype)
        return spaces.Box(info.min, info.max, self.shape, np.dtype(self.dtype))

    @property
    def action_space(self):
        if self.actions[0] == "box":
            return spaces.Box(*(np.array(side, np.float32) for side in self.actions[1:]))
        return spaces.Discrete(self.actions[1], start=self.actions[2])


class Scripted(gymnasium.Env):
    """Episodes that follow from the seed of their reset alone."""

    def __init__(self, manner):
        self.manner = manner
        self.observation_space, self.action_space = manner.space, manner.action_space
        self.episode = -1

    def _observation(self):
        manner = self.manner
        if manner.floating:
            return self.np_random.normal(size=manner.shape).astype(manner.dtype)
        info = np.iinfo(manner.dtype)
        low, high = max(info.min, -(2**40)), min(info.max, 2**40)
        return self.np_random.integers(low, high, manner.shape, endpoint=True).astype(manner.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode += 1
        self.t = 0
        return self._observation(), {"start": self.episode}

    def step(self, action):
        assert self.action_space.contains(action), action
        manner = self.manner
        self.t += 1
        length = manner.lengths[self.episode % len(manner.lengths)]
        how = manner.ends[self.episode % len(manner.ends)] if self.t == length else "goes on"
        reward = REWARDS[self.np_random.integers(len(REWARDS))]
        # A name that some episodes have and the first has not.
        info = {"t": self.t} | ({"late": 0.5} if self.episode % 3 == 1 else {})
        return self._observation(), reward, how in ("dies", "both"), how in ("cut", "both"), info


WRAPPERS = {
    "none": lambda env: env,
    "limit": lambda env: gymnasium.wrappers.TimeLimit(env, 3),
    "statistics": gymnasium.wrappers.RecordEpisodeStatistics,
    "transform": lambda env: gymnasium.wrappers.TransformObservation(
        env, lambda x: x[..., ::-1], env.observation_space
    ),
    "stack": lambda env: gymnasium.wrappers.FrameStackObservation(env, 2, padding_type="reset"),
}

# How observations may be given without a loss beyond single precision.
GIVEN = {
    "as promised": lambda x: x,
    "float64": lambda x: x.astype(np.float64) + (1e-12 if x.dtype.kind == "f" else 0),
    "int64": lambda x: x.astype(np.int64),
    "list": lambda x: x.tolist(),
    "view": lambda x: np.repeat(x, 2, axis=0)[::2],
    "columns": np.asfortranarray,
}
REWARD = {
    "float": float,
    "np.float64": np.float64,
    "np.float32": np.float32,
    "zero-dim": np.array,
    "int": round,
    "bool": lambda x: x > 0,
}
FLAG = {"bool": bool, "np.bool_": np.bool_, "int": int, "zero-dim": np.array}


def _out_of_range(x):
    info = np.iinfo(x.dtype)
    return np.full(x.shape, info.max + 1 if info.max < 2**40 else float(info.max) * 4, np.float64)


def _with(x, value):
    x = np.array(x, np.float64)
    x.flat[-1] = value
    return x


# What nobody should take: which part of the answer, and from the right one to the wrong one.
FAULTS = {
    "observation nan": (0, lambda x: _with(x, np.nan)),
    "observation inf": (0, lambda x: _with(x, -np.inf)),
    "observation huge": (0, lambda x: _with(x, 1e39)),
    "observation row": (0, lambda x: np.asarray(x)[None]),
    "observation scalar": (0, lambda x: np.asarray(x).flat[0]),
    "observation long": (0, lambda x: np.concatenate([np.asarray(x)] * 2)),
    "observation none": (0, lambda x: None),
    "observation text": (0, lambda x: "up"),
    "observation complex": (0, lambda x: np.asarray(x) + 1j),
    "observation fraction": (0, lambda x: np.asarray(x) + 0.3),
    "observation range": (0, lambda x: _out_of_range(np.asarray(x))),
    "reward nan": (1, lambda x: float("nan")),
    "reward inf": (1, lambda x: np.float32(np.inf)),
    "reward huge": (1, lambda x: 1e39),
    "reward none": (1, lambda x: None),
    "reward row": (1, lambda x: np.array([x])),
    "reward pair": (1, lambda x: [x, x]),
    "reward text": (1, lambda x: "1"),
    "terminated none": (2, lambda x: None),
    "terminated row": (2, lambda x: np.array([x])),
    "terminated half": (2, lambda x: 0.5),
    "truncated none": (3, lambda x: None),
    "truncated text": (3, lambda x: "no"),
    "info none": (-1, lambda x: None),
    "info number": (-1, lambda x: 3),
    "old form": (None, lambda answer: answer[:-1]),
}
ONLY_WHOLE_NUMBERS = ("observation fraction", "observation range")
IN_BATCHES = ("observation nan", "observation inf", "reward nan")  # what Gymnasium hands on


class Told(gymnasium.Wrapper):
    """Answers in a manner, writes down what it said, and once gives a wrong answer.

    Args:
        manner: in which it answers.
        index: its number.
        journal: where it writes.
        fault: None, or which, "reset" or "step", and how many of those were answered before.
    """

    def __init__(self, manner, index, journal, fault=None):
        super().__init__(WRAPPERS[manner.wrapper](Scripted(manner)))
        self.manner, self.index, self.journal, self.fault = manner, index, journal, fault
        self.answered = {"reset": 0, "step": 0}
        self.buffer, self.info = None, {}

    def reset(self, *, seed=None, options=None):
        given, info, kept = self._in_its_manner(*self.env.reset(seed=seed, options=options))
        self.journal.append(("reset", self.index, seed, kept))
        return self._spoiled("reset", (given, info))

    def step(self, action):
        taken = np.array(action)
        given, reward, terminated, truncated, info = self.env.step(action)
        given, info, kept = self._in_its_manner(given, info)
        reward = REWARD[self.manner.reward](reward)
        told = (kept, float(reward), bool(terminated), bool(truncated), numbers(info))
        self.journal.append(("step", self.index, type(action), taken, *told))
        if self.manner.scribbles and isinstance(action, np.ndarray):
            action[...] = 0
        flag = FLAG[self.manner.flag]
        return self._spoiled("step", (given, reward, flag(terminated), flag(truncated), info))

    def _in_its_manner(self, observation, info):
        given = GIVEN[self.manner.given](observation)
        # In double precision, or whole numbers as they are.
        kept = np.array(given, np.float64 if observation.dtype.kind == "f" else observation.dtype)
        if self.manner.reuse:
            if isinstance(given, np.ndarray):
                self.buffer = np.empty_like(given) if self.buffer is None else self.buffer
                self.buffer[...] = given
                given = self.buffer
            new = dict(info)
            self.info.clear()
            self.info.update(new)
            info = self.info
        return given, info, kept

    def _spoiled(self, kind, answer):
        number = self.answered[kind]
        self.answered[kind] += 1
        if self.fault is None or self.fault[1:] != (kind, number):
            return answer
        name, self.fault = self.fault[0], None
        self.journal.append(("fault", self.index))
        return spoil(answer, *FAULTS[name])


def numbers(info):
    return {name: float(value) for name, value in info.items() if not isinstance(value, dict)}


def spoil(answer, part, how):
    if part is None:
        return how(answer)
    answer = list(answer)
    answer[part] = how(answer[part])
    return tuple(answer)


BATCH_FAULTS = {
    "observation nan": (0, lambda x: _with(x, np.nan)),
    "observation one": (0, lambda x: x[0]),
    "observation column": (0, lambda x: x[:, None]),
    "observation fraction": (0, lambda x: np.asarray(x) + 0.3),
    "observation none": (0, lambda x: None),
    "reward nan": (1, lambda x: _with(x, np.nan)),
    "reward column": (1, lambda x: np.asarray(x)[:, None]),
    "reward one": (1, lambda x: x[0]),
    "reward none": (1, lambda x: [None] * len(x)),
    "terminated none": (2, lambda x: None),
    "truncated half": (3, lambda x: np.asarray(x) * 0.0 + 0.5),
    "info none": (4, lambda x: None),
    "old form": (None, lambda answer: answer[:-1]),
}


class Batch(VectorEnv):
    """A vector environment of one's own.

    Args:
        envs: what it plays.
        mode: its way of resetting.
        named: how its metadata name it: "enum", "text", "" for not at all, or another mode.
        listed: whether infos are a list of dicts.
        final: the name of an episode's last observation.
        reuse: whether the arrays that it returns are the same each time.
        scribbles: whether it writes into the actions that it gets.
        fault: None, or kind and the number of the step.
    """

    def __init__(self, envs, mode, named, listed, final, reuse, scribbles, fault=None):
        self.envs, self.mode = envs, mode
        self.num_envs = len(envs)
        self.single_observation_space = envs[0].observation_space
        self.single_action_space = envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        names = {"enum": mode, "text": mode.value}
        self.metadata = {"autoreset_mode": names.get(named, named)} if named else {}
        self.listed, self.final, self.reuse, self.scribbles = listed, final, reuse, scribbles
        self.fault, self.steps, self.over = fault, 0, np.zeros(self.num_envs, bool)
        self.observation = None
        self.kept = {}

    def _same(self, name, array):
        """The array itself, or the one that is the same each time."""
        if not self.reuse:
            return array
        kept = self.kept.setdefault(name, array.copy())
        kept[...] = array
        return kept

    def reset(self, *, seed=None, options=None):
        which = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        if self.observation is None:
            self.observation = [None] * self.num_envs
        for i in np.flatnonzero(which):
            given, _ = self.envs[i].reset(seed=None if seed is None else seed + int(i))
            self.observation[i] = np.array(given)
        self.over &= ~which
        return self._same("observation", np.stack(self.observation)), {}

    def step(self, actions):
        count = self.num_envs
        rewards, dies, cut = np.zeros(count), np.zeros(count, bool), np.zeros(count, bool)
        infos, final_observations = [{} for _ in range(count)], {}
        began = self.over[-1] and self.mode is AutoresetMode.NEXT_STEP
        for i, env in enumerate(self.envs):
            if self.over[i] and self.mode is AutoresetMode.NEXT_STEP:
                given, infos[i] = env.reset()
                rewards[i] = 7.5  # which is nobody's
            else:
                action = np.copy(actions[i]) if actions.ndim > 1 else int(actions[i])
                given, rewards[i], dies[i], cut[i], info = env.step(action)
                infos[i] = dict(info)
                if (dies[i] or cut[i]) and self.mode is AutoresetMode.SAME_STEP:
                    final_observations[i] = (np.array(given), infos[i])
                    given, infos[i] = env.reset()
            self.observation[i] = np.array(given)
        self.over = (dies | cut) & (self.mode is not AutoresetMode.SAME_STEP)
        if self.scribbles:
            actions[...] = self.single_action_space.start if actions.ndim == 1 else 0
        answer = [
            self._same("observation", np.stack(self.observation)),
            self._same("rewards", rewards),
            self._same("dies", dies),
            self._same("cut", cut),
            self._infos(infos, final_observations),
        ]
        number, self.steps = self.steps, self.steps + 1
        # The last one's reward is nobody's where it only began anew.
        nobodys = began and self.fault is not None and self.fault[0] == "reward nan"
        if self.fault is not None and self.fault[1] == number and not nobodys:
            name, self.fault = self.fault[0], None
            self.envs[0].journal.append(("fault", None))
            return spoil(tuple(answer), *BATCH_FAULTS[name])
        return tuple(answer)

    def _infos(self, infos, final_observations):
        if self.listed:
            both = [dict(info) for info in infos]
            for i, (observation, info) in final_observations.items():
                both[i] |= {self.final: observation, "final_info": info}
            return both
        said = self._gathered(infos)
        if final_observations:
            last = np.full(self.num_envs, None, object)
            for i, (observation, _) in final_observations.items():
                last[i] = observation
            said[self.final] = last
            said["_" + self.final] = np.array(
                [i in final_observations for i in range(self.num_envs)]
            )
            said["final_info"] = self._gathered(
                [
                    final_observations[i][1] if i in final_observations else {}
                    for i in range(self.num_envs)
                ]
            )
        return said

    def _gathered(self, infos):
        """As Gymnasium does it: what one has, all have, and a mask says who."""
        names = {name for info in infos for name, v in info.items() if not isinstance(v, dict)}
        said = {}
        for name in names:
            said[name] = np.array([info.get(name, 0) for info in infos])
            said["_" + name] = np.array([name in info for info in infos])
        return said


@dataclasses.dataclass
class Moment:
    """One step as an environment told of it; `broken` if its episode was given up behind it."""

    observation: np.ndarray
    action: np.ndarray
    action_type: type
    following: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    info: dict
    broken: bool = False

    @property
    def ends(self):
        return self.terminated or self.truncated or self.broken


def mark_rounds(envs, journal):
    """Write into the journal when the library asks for a step, and whether it took the answer."""
    step = envs.step

    def marking(actions):
        journal.append(("round",))
        try:
            outcome = step(actions)
        except Exception:
            journal.append(("refused",))
            raise
        journal.append(("taken",))
        return outcome

    envs.step = marking


class Account:
    """What was told: for each environment a list over rounds, None where it only began anew.

    Rounds that were not taken are left out; an episode begun anew before its end is broken there.
    """

    def __init__(self, num_envs):
        self.rows = [[] for _ in range(num_envs)]
        self._current = [None] * num_envs
        self._running = [None] * num_envs  # the last moment of an episode that has not ended

    def begin(self, i, observation):
        if self._running[i] is not None:
            self._running[i].broken = True
        self._current[i], self._running[i] = observation, None

    def round(self, events):
        told = [False] * len(self.rows)
        for kind, i, *rest in events:
            if kind == "reset":
                self._current[i] = rest[1]
                continue
            action_type, action, following, *others = rest
            moment = Moment(self._current[i], action, action_type, following, *others)
            self.rows[i].append(moment)
            self._current[i] = following
            self._running[i] = None if moment.ends else moment
            told[i] = True
        for own, did in zip(self.rows, told, strict=True):
            if not did:
                own.append(None)


def account_of(journal, num_envs):
    account, events = Account(num_envs), None
    for event in journal:
        if event[0] == "round":
            events = []
        elif event[0] == "taken":
            account.round(events)
            events = None
        elif event[0] == "refused":
            events = None
        elif event[0] == "fault":
            pass
        elif events is not None:
            events.append(event)
        elif event[0] == "reset":
            account.begin(event[1], event[3])
    return account.rows
