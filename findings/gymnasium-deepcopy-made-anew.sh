#!/usr/bin/env bash
# Gymnasium 1.4.0: copy.deepcopy of a MuJoCo environment forgets what was set in it, and where it stood.
#
# Environments that inherit gymnasium.utils.EzPickle (MuJoCo, Box2D, Atari) are copied by calling
# their constructor again. A gravity that was set afterwards, the episode in progress and the spec are
# gone in the copy, without an error: who copies such an environment to evaluate in it evaluates in
# another one. Classic-control environments are copied whole.
#
# Seen: gravity -50 in the original and -9.81 in the copy; the pole stands elsewhere.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check \
  gymnasium==1.4.0 numpy==2.4.6 mujoco==3.3.7 imageio==2.38.1 packaging==26.3
"$place/venv/bin/python" - <<'PYTHON'
import copy

import gymnasium
import mujoco
import numpy as np

print("gymnasium", gymnasium.__version__, "mujoco", mujoco.__version__)
env = gymnasium.make("InvertedPendulum-v5").unwrapped
env.model.opt.gravity[2] = -50.0
env.reset(seed=0)
for _ in range(5):
    env.step(np.array([1.0], np.float32))
made = copy.deepcopy(env)
print(f"gravity: original {env.model.opt.gravity[2]}, copy {made.model.opt.gravity[2]}")
print(f"position: original {env.data.qpos.round(3)}, copy {made.data.qpos.round(3)}")
assert made.model.opt.gravity[2] == -9.81, "what was set is kept now"
assert not np.allclose(env.data.qpos, made.data.qpos), "the copy stands where the original does now"

cart = gymnasium.make("CartPole-v1").unwrapped
cart.gravity = 50.0
print(f"CartPole: original {cart.gravity}, copy {copy.deepcopy(cart).gravity}")
assert copy.deepcopy(cart).gravity == 50.0
PYTHON
