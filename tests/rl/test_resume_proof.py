"""A training killed at twenty random moments ends as one that was never killed, bit for bit."""

import random

import pytest
from killing import kill_at, left_behind, start, to_the_end

STEPS = 1_500
LIVES = {
    "rainbow, 2 replicas of 2 environments": (
        ["rainbow", "CartPole-v1", "--replicas=2", "--num-envs=2", "--set=hidden_sizes=16,16"]
    ),
    # Too large to be solved, and so ended, in these few steps.
    "boot-dqn in a stochastic deep sea": (
        ["boot-dqn", "hunch/DeepSea-v0", "--size=20", "--env=stochastic=true", "--set=num_members=5"]
    ),
}  # fmt: skip


@pytest.mark.proof
@pytest.mark.parametrize("life", LIVES)
def test_twenty_kills_change_no_bit(life, tmp_path):
    arguments = [*LIVES[life], f"--steps={STEPS}", "--checkpoint-every=30", "--eval-every=150"]
    to_the_end(*arguments, "--out", tmp_path / "whole")
    chance = random.Random(0)
    moments = sorted(chance.uniform(0, 0.95 * STEPS) for _ in range(20))
    killed, begun = 0, False
    for moment in moments:
        way = (
            ["--resume", tmp_path / "killed"]
            if begun
            else [*arguments, "--out", tmp_path / "killed"]
        )
        process = start(*way)
        died, errors = kill_at(process, tmp_path / "killed", moment, chance.uniform(0, 0.1))
        print(f"killed after step {moment:.0f}: {died}", errors if not died else "")
        killed += died
        begun = True
    assert killed == 20
    to_the_end("--resume", tmp_path / "killed")
    assert left_behind(tmp_path / "killed") == left_behind(tmp_path / "whole")
