"""A training killed at twenty random moments ends as one that was never killed, bit for bit."""

import random

import pytest
from killing import kill_at, left_behind, start, to_the_end

STEPS = 700
LIVES = {
    "rainbow, 2 replicas of 2 environments": (
        ["rainbow", "CartPole-v1", "--replicas=2", "--num-envs=2", "--set=batch_size=32"]
    ),
    # Too large to be solved, and so ended, in these few steps.
    "boot-dqn in a stochastic deep sea": (
        ["boot-dqn", "hunch/DeepSea-v0", "--size=20", "--env=stochastic=true", "--set=num_members=5"]
    ),
    "a2c in a box, normalised": ["a2c", "Pendulum-v1", "--replicas=2", "--set=normalize=true"],
    "pqn with members": (
        ["pqn", "CartPole-v1", "--replicas=2", "--num-envs=3", "--set=num_members=3",
         "--set=batch_size=16", "--set=rollout_length=7"]
    ),
    "noisy pqn": (
        ["noisy-pqn", "CartPole-v1", "--num-envs=3", "--set=batch_size=16", "--set=rollout_length=7"]
    ),
    "reinforce by leave-one-out": (
        ["reinforce", "CartPole-v1", "--num-envs=2", "--replicas=2", "--set=baseline=loo"]
    ),
}  # fmt: skip


@pytest.mark.proof
@pytest.mark.parametrize("life", LIVES)
def test_twenty_kills_change_no_bit(life, tmp_path):
    arguments = [*LIVES[life], f"--steps={STEPS}", "--checkpoint-every=20", "--eval-every=100"]
    to_the_end(*arguments, "--out", tmp_path / "whole")
    chance = random.Random(0)
    moments = sorted(chance.uniform(0, 0.95 * STEPS) for _ in range(20))
    begun = False
    for moment in moments:
        way = (
            ["--resume", tmp_path / "killed"]
            if begun
            else [*arguments, "--out", tmp_path / "killed"]
        )
        process = start(*way)
        died, errors = kill_at(process, tmp_path / "killed", moment, chance.uniform(0, 0.1))
        assert died, errors
        print(f"killed after step {moment:.0f}", flush=True)
        begun = True
    to_the_end("--resume", tmp_path / "killed")
    assert left_behind(tmp_path / "killed") == left_behind(tmp_path / "whole")
