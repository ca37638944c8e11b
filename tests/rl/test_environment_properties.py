"""What agents store is what environments said, for environments made at random.

Each case makes environments, an agent and perhaps one wrong answer, lets the agent learn, and
compares all that it holds with the journal that the environments wrote: every transition over one
or several steps, every rollout, every return. A wrong answer must be refused by the name of the
environment and its step, nothing of it may be kept, and learning must go on behind it. There is
nothing statistical in it: one difference in any case fails.
"""

import dataclasses
import functools

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_environments import (
    BATCH_FAULTS,
    FAULTS,
    GIVEN,
    IN_BATCHES,
    ONLY_WHOLE_NUMBERS,
    REWARD,
    WRAPPERS,
    Batch,
    Manner,
    Told,
    account_of,
    mark_rounds,
)

from hunch.errors import ConfigurationError, HunchError
from hunch.rl import A2C, DQN, BootstrappedDQN, Reinforce, evaluate

VALUES, POLICIES = (DQN, BootstrappedDQN), (A2C, Reinforce)
DISCOUNT = 0.5


@dataclasses.dataclass(frozen=True)
class Case:
    """One agent in its environments."""

    agent: type
    options: dict
    manner: Manner
    kind: str  # of environments: "single", "sync" or "batch"
    num_envs: int
    replicas: int
    rounds: int
    fault: tuple | None
    fault_at: int  # number of the environment
    mode: AutoresetMode
    named: str
    listed: bool
    final: str
    shared: bool  # one environment given for several

    def envs(self, journal):
        """What the agent is given."""
        make = functools.partial(self._told, journal)
        if self.kind == "single":
            count = self.num_envs * self.replicas
            made = iter([make(0 if self.shared else i) for i in range(count)])
            one = make(0)
            return lambda: one if self.shared else next(made, None) or make(count)
        if self.kind == "sync":
            fns = [functools.partial(make, i) for i in range(self.num_envs)]
            return SyncVectorEnv(fns, copy=not self.manner.reuse, autoreset_mode=self.mode)
        fault = self.fault if self.fault and len(self.fault) == 2 else None
        return Batch(
            [make(i) for i in range(self.num_envs)],
            self.mode,
            self.named,
            self.listed,
            self.final,
            self.manner.reuse,
            self.manner.scribbles,
            fault,
        )

    def _told(self, journal, i):
        own = self.fault is not None and len(self.fault) == 3 and i == self.fault_at
        return Told(self.manner, i, journal, self.fault if own else None)


# The cases


@st.composite
def manners(draw, boxes, vector):
    dtype = draw(st.sampled_from(["float32", "float64", "uint8", "int16", "int64", "float16"]))
    floating = dtype.startswith("float")
    given = ["as promised", "float64"] if floating else ["as promised"]
    box = boxes and draw(st.booleans())
    if box:
        width = draw(st.integers(1, 2))
        low = draw(st.sampled_from([-1.0, 0.5]))
        actions = ("box", (low,) * width, (1.0,) * (width - 1) + (0.5 if width == 2 else 1.0,))
    else:
        actions = ("finite", draw(st.integers(1, 3)), draw(st.integers(-1, 2)))
    return Manner(
        shape=draw(st.sampled_from([(1,), (3,), (2, 2), (1, 4)])),
        dtype=dtype,
        given=draw(st.sampled_from(given if vector else list(GIVEN))),
        actions=actions,
        lengths=tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))),
        ends=tuple(
            draw(st.lists(st.sampled_from(["dies", "cut", "both"]), min_size=1, max_size=3))
        ),
        reward="float" if vector else draw(st.sampled_from(list(REWARD))),
        flag="bool" if vector else draw(st.sampled_from(["bool", "np.bool_", "int", "zero-dim"])),
        reuse=draw(st.booleans()),
        scribbles=draw(st.booleans()),
        wrapper=draw(st.sampled_from(list(WRAPPERS))),
    )


@st.composite
def cases(draw):
    agent = draw(st.sampled_from(VALUES + POLICIES))
    kind = draw(st.sampled_from(["single", "single", "sync", "batch"]))
    manner = draw(manners(agent in POLICIES, kind != "single"))
    num_envs = draw(st.integers(1, 3))
    return Case(
        agent=agent,
        options=draw(options(agent, num_envs)),
        manner=manner,
        kind=kind,
        num_envs=num_envs,
        replicas=draw(st.integers(1, 2)) if kind == "single" else 1,
        rounds=draw(st.integers(4, 24)),
        fault=draw(st.none() | faults(kind, manner)),
        fault_at=draw(st.integers(0, num_envs - 1)),
        mode=draw(st.sampled_from(list(AutoresetMode))),
        named=draw(st.sampled_from(["enum", "text", "enum", "text", ""])),
        listed=draw(st.booleans()),
        final=draw(st.sampled_from(["final_obs", "final_observation"])),
        shared=kind == "single" and draw(st.integers(0, 9)) == 0,
    )


@st.composite
def options(draw, agent, num_envs):
    common = {"hidden_sizes": (4,), "discount": DISCOUNT, "seed": draw(st.integers(0, 99))}
    if agent is A2C:
        return common | {"rollout_length": draw(st.integers(1, 6)), "noisy": draw(st.booleans())}
    if agent is Reinforce:
        baseline = draw(st.sampled_from(["value", None]))
        return common | {"episodes": num_envs * draw(st.integers(1, 2)), "baseline": baseline}
    n_step = draw(st.integers(1, 3))
    common |= {
        "n_step": n_step,
        "batch_size": 2,
        "replay_capacity": max(draw(st.sampled_from([4, 7, 30, 200])), n_step * num_envs),
        "double": draw(st.booleans()),
    }
    if agent is BootstrappedDQN:
        return common | {"num_members": 2, "mask_probability": draw(st.sampled_from([0.5, 1.0]))}
    switches = ("noisy", "dueling", "prioritized")
    return common | {switch: draw(st.booleans()) for switch in switches}


def faults(kind, manner):
    names = [n for n in FAULTS if not (manner.floating and n in ONLY_WHOLE_NUMBERS)]
    at_reset = [n for n in names if n.startswith(("observation", "old", "info"))]
    batch = [n for n in BATCH_FAULTS if not (manner.floating and n in ONLY_WHOLE_NUMBERS)]
    if kind == "batch":
        return st.tuples(st.sampled_from(batch), st.integers(0, 12))
    if kind == "sync":
        names = [n for n in IN_BATCHES if manner.floating or n.startswith("reward")]
        return st.tuples(st.sampled_from(names), st.just("step"), st.integers(0, 12))
    return st.tuples(st.sampled_from(names), st.just("step"), st.integers(0, 12)) | st.tuples(
        st.sampled_from(at_reset), st.just("reset"), st.integers(0, 3)
    )


# What is compared


def check(case):
    journal = []
    made = case.envs(journal)
    options = dict(case.options)
    if case.kind == "single":
        options |= {"num_envs": case.num_envs, "replicas": case.replicas}
    if case.shared and case.num_envs * case.replicas > 1:
        with pytest.raises(ConfigurationError, match="environment"):
            case.agent(made, **options)
        return
    if case.kind == "batch" and not case.named:
        with pytest.raises(ConfigurationError, match="autoreset_mode"):
            case.agent(made, **options)
        return
    agent = case.agent(made, **options)
    mark_rounds(agent._loop.envs, journal)
    trajectories = watch_updates(agent)
    if not learn(agent, case, journal):
        return
    rows = account_of(journal, case.num_envs * case.replicas)
    assert {len(own) for own in rows} == {case.rounds}
    check_history(agent, rows)
    if case.agent in VALUES:
        check_replay(agent, rows)
    else:
        check_stretches(agent, rows, trajectories)
    assert all(bool(p.isfinite().all()) for p in agent.network.parameters())
    check_actions(agent, case, rows)


def learn(agent, case, journal):
    """Learn through a wrong answer, if there is one; return whether it came to an end."""
    refusals = []
    for _ in range(2):
        try:
            agent.learn(case.rounds * case.num_envs, progress=False)
        except HunchError as error:
            refusals.append(str(error))
            if overwrites(case) and "the same array before and after a reset" in refusals[-1]:
                return False
            check_refusal(refusals[-1], case, journal)
    assert len(refusals) == sum(event[0] == "fault" for event in journal)
    return True


def overwrites(case):
    """Gymnasium then writes the next episode's first observation over the last one of this."""
    return case.kind == "sync" and case.mode is AutoresetMode.SAME_STEP and case.manner.reuse


def check_refusal(message, case, journal):
    """The environment's number and the place in its episode are named, and what was wrong."""
    last = [event[0] for event in journal[-2 * case.num_envs * case.replicas - 2 :]]
    assert "fault" in last
    assert last[-1] == "refused" or case.fault[1] == "reset"
    what = case.fault[0].split()[0]
    assert what in ("old", "info") or what in message, message
    if case.kind == "single":
        i = case.fault_at
        own = [e for e in journal if e[0] in ("reset", "step") and e[1] == i]
        begun = max(at for at, e in enumerate(own) if e[0] == "reset")
        place = f"reset(seed={own[begun][2]})"
        if steps := len(own) - 1 - begun:
            place = f"step {steps} after {place}"
        assert f"environment {i} of {case.num_envs * case.replicas} (Scripted), {place};" in message
    elif case.kind == "sync":
        assert f"environment {case.fault_at} of {case.num_envs} (SyncVectorEnv)" in message
    else:
        assert f" of {case.num_envs} (Batch)" in message


def watch_updates(agent):
    """The trajectories that a policy learns from, each with the round behind it."""
    seen = []
    if isinstance(agent, A2C):
        update = agent._update

        def watching():
            seen.append((agent.steps // agent.num_envs, None, agent._rollout.since(0)))
            update()

        agent._update = watching
    elif isinstance(agent, Reinforce):
        learn_from = agent._update

        def watching(replica, trajectory):
            seen.append((agent.steps // agent.num_envs, replica, trajectory))
            learn_from(replica, trajectory)

        agent._update = watching
    return seen


def stored(agent, observation):
    return observation.astype(agent.observation_dtype)


def same(found, told):
    return found.dtype == told.dtype and np.array_equal(found, told)


def check_history(agent, rows):
    for r, history in enumerate(agent.histories):
        returns, lengths, ends, infos = [], [], [], []
        own = rows[r * agent.num_envs : (r + 1) * agent.num_envs]
        totals, steps = np.zeros(len(own)), np.zeros(len(own), int)
        for t, moments in enumerate(zip(*own, strict=True)):
            for e, moment in enumerate(moments):
                if moment is None:
                    continue
                totals[e] += moment.reward
                steps[e] += 1
                if moment.terminated or moment.truncated:
                    returns.append(float(totals[e]))
                    lengths.append(int(steps[e]))
                    ends.append((t + 1) * agent.num_envs)
                    infos.append(moment.info)
                if moment.ends:
                    totals[e] = steps[e] = 0
        assert history.returns == returns
        assert history.lengths == lengths
        assert history.ends == ends
        assert history.infos == infos


def check_replay(agent, rows):
    """Every transition that may be drawn, over one or n steps."""
    replay = agent._replay
    rounds = len(rows[0])
    kept = min(rounds, replay._slots - replay._frame_stack)
    assert replay._added == rounds
    for i, own in enumerate(rows):
        r, e = divmod(i, agent.num_envs)
        drawable = 0
        for t in range(rounds - kept, rounds):
            slot = t % replay._slots
            assert replay._valid[slot, r, e] == (own[t] is not None)
            if own[t] is None or t + replay.n_step > rounds:
                continue
            drawable += 1
            everyone = np.full((agent.replicas, 1), slot), np.full((agent.replicas, 1), e)
            check_transition(agent, replay._gather(*everyone, None), r, own, t)
        assert replay._drawable[r] >= drawable
    total = sum(
        own[t] is not None
        for own in rows[: agent.num_envs]
        for t in range(rounds - kept, max(rounds - kept, rounds - replay.n_step + 1))
    )
    assert replay._drawable[0] == total


def check_transition(agent, drawn, r, own, t):
    first, total, discount = own[t], np.float32(0), 1.0
    for j in range(agent._replay.n_step):
        last = own[t + j]
        total += np.float32(DISCOUNT**j) * np.float32(last.reward)
        discount *= DISCOUNT
        if last.ends:
            break
    assert same(drawn.observation[r, 0], stored(agent, first.observation))
    assert drawn.action[r, 0] + agent.first_action == first.action
    assert drawn.reward[r, 0] == total
    assert drawn.discount[r, 0] == (0.0 if last.terminated else np.float32(discount))
    if not last.terminated:
        assert same(drawn.next_observation[r, 0], stored(agent, last.following))


def check_stretches(agent, rows, trajectories):
    begun = [0] * agent.replicas  # the round in which each replica's trajectory begins
    for behind, replica, trajectory in trajectories:
        replicas = range(agent.replicas) if replica is None else [replica]
        length = len(trajectory.reward)
        for column, r in enumerate(replicas):
            assert begun[r] == behind - length
            begun[r] = behind
            for e in range(agent.num_envs):
                own = rows[r * agent.num_envs + e][behind - length : behind]
                check_stretch(agent, trajectory, column, e, own)
    if isinstance(agent, A2C):
        assert len(trajectories) == len(rows[0]) // agent.rollout_length


def check_stretch(agent, trajectory, column, e, own):
    share = agent.episodes // agent.num_envs if isinstance(agent, Reinforce) else np.inf
    played = 0
    for t, moment in enumerate(own):
        at = (t, column, e)
        assert trajectory.counts[at] == (moment is not None and played < share)
        if moment is None:
            continue
        assert same(trajectory.observation[at], stored(agent, moment.observation))
        action = agent._actor.actions.to_env(trajectory.raw[at]) + agent.first_action
        assert np.array_equal(action, moment.action)
        assert trajectory.reward[at] == np.float32(moment.reward)
        assert trajectory.terminated[at] == moment.terminated
        last = t == len(own) - 1  # what is broken behind it is not known yet
        assert trajectory.truncated[at] == (moment.truncated or (moment.broken and not last))
        if not moment.terminated:
            bootstrap_observation = (
                trajectory.bootstrap_observation[trajectory.bootstrap_steps.index(t), column, e]
                if t in trajectory.bootstrap_steps
                else trajectory.observation[t + 1, column, e]
            )
            assert same(bootstrap_observation, stored(agent, moment.following))
        played += moment.terminated or moment.truncated


def check_actions(agent, case, rows):
    """One type in training and in evaluation; what an environment writes into them is its own."""
    usual = {moment.action_type for own in rows for moment in own if moment is not None}
    if case.kind == "single":
        assert usual == {np.ndarray if case.manner.actions[0] == "box" else int}
    if case.kind != "single" or agent.replicas > 1:
        return
    journal = []
    told = Told(case.manner, 0, journal)
    agent.another_env = lambda: told
    result = evaluate(agent, episodes=2, num_envs=1)
    steps = [event for event in journal if event[0] == "step"]
    assert {event[2] for event in steps} == usual
    assert result.lengths.sum() == len(steps)
    totals = np.zeros(2)
    for episode, event in zip(np.repeat([0, 1], result.lengths), steps, strict=True):
        totals[episode] += event[5]
    assert np.array_equal(result.returns, totals)


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("agent", [DQN, A2C])
def test_agents_store_what_environments_in_other_processes_say(agent, mode):
    manner = Manner(
        shape=(3,),
        dtype="float32",
        given="as promised",
        actions=("finite", 2, 0),
        lengths=(1, 3, 4),
        ends=("dies", "cut"),
        reward="float",
        flag="bool",
        reuse=False,
        scribbles=False,
        wrapper="none",
    )
    envs = AsyncVectorEnv([lambda i=i: Told(manner, i, []) for i in range(2)], autoreset_mode=mode)
    try:
        agent = agent(envs, hidden_sizes=(4,), discount=DISCOUNT)
        trajectories = watch_updates(agent)
        agent.learn(2 * 40, progress=False)
        rows = [rounds_of(events, mode) for events in envs.get_attr("journal")]
    finally:
        envs.close()
    check_history(agent, rows)
    if trajectories:
        check_stretches(agent, rows, trajectories)
    else:
        check_replay(agent, rows)


def rounds_of(events, mode):
    """The rounds of one environment, without marks in its journal."""
    journal, over = [], False
    for event in events:
        alone = event[0] == "reset" and not (over and mode is AutoresetMode.NEXT_STEP)
        journal += [event] if alone else [("round",), event, ("taken",)]
        over = event[0] == "step" and (event[6] or event[7])
    return account_of([(e[0], 0, *e[2:]) if len(e) > 1 else e for e in journal], 1)[0]


usual = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@pytest.mark.slow
@settings(usual, max_examples=200)
@given(cases())
@pytest.mark.filterwarnings("ignore::hunch.errors.HunchWarning")
def test_agents_store_what_environments_say(case):
    check(case)


@pytest.mark.proof
@settings(usual, max_examples=2_000, phases=[Phase.generate])
@given(cases())
@pytest.mark.filterwarnings("ignore::hunch.errors.HunchWarning")
def test_agents_store_what_2000_environments_say(case):
    check(case)
