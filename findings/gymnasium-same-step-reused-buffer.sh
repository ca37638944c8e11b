#!/usr/bin/env bash
# Gymnasium 1.4.0: SyncVectorEnv in mode SAME_STEP loses the last observation of an episode.
#
# An environment may return the same array from every step (Gymnasium asks for no copy, and
# SyncVectorEnv copies by default). In mode SAME_STEP the vector environment keeps that array as
# infos["final_obs"] and then resets the environment, which writes the next episode's first
# observation into it. So the observation that a value is bootstrapped from is of the wrong episode,
# also with copy=True, and without an error. Mode NEXT_STEP is not affected.
#
# Seen: final_obs is 0 (the reset's) where the episode ended at 3.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check gymnasium==1.4.0 numpy==2.4.6
"$place/venv/bin/python" - <<'PYTHON'
import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv


class Counter(gymnasium.Env):
    """Counts to three, in one array."""

    observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self):
        self.count = np.zeros(1, np.float32)

    def reset(self, *, seed=None, options=None):
        self.count[:] = 0
        return self.count, {}

    def step(self, action):
        self.count[:] += 1
        return self.count, 0.0, bool(self.count[0] == 3), False, {}


print("gymnasium", gymnasium.__version__)
for copied in (True, False):
    envs = SyncVectorEnv([Counter] * 2, autoreset_mode=AutoresetMode.SAME_STEP, copy=copied)
    envs.reset()
    for _ in range(3):
        _, _, terminated, _, infos = envs.step(np.zeros(2, int))
    last = [float(observation[0]) for observation in infos["final_obs"]]
    print(f"copy={copied}: terminated {terminated.tolist()}, final_obs {last}, counted to 3")
    assert terminated.all()
    assert last == [0.0, 0.0], "the last observation is kept now"
PYTHON
