#!/usr/bin/env bash
# MinAtar 1.0.15: the first action of an episode may be the last one of the episode before.
#
# With the probability `sticky_action_prob` (0.1 by default) an action is replaced by the one before.
# `reset` seeds the chance and begins the game anew, but does not forget that action: so an episode
# does not follow from its seed and its actions, and cannot be played again in a new environment.
#
# Also seen: its Gymnasium ids are not known after `import gymnasium` alone (Gymnasium has no plugins
# since 1.0, for which MinAtar names an entry point); `minatar.gym.register_envs()` makes them known.
#
# Seen: the same seed and actions lead to two boards.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check minatar==1.0.15 gymnasium==1.4.0 \
    numpy==2.4.6
"$place/venv/bin/python" - <<'PYTHON'
import gymnasium
import minatar.gym

assert "MinAtar/Breakout-v1" not in gymnasium.registry, "the ids are known now"
minatar.gym.register_envs()


def board(before):
    """Of an episode from seed 5 after one step of action 0, by what was done in the one before."""
    env = gymnasium.make("MinAtar/Breakout-v1", sticky_action_prob=0.5)
    boards = []
    for seed in range(20):
        env.reset(seed=100)
        for _ in range(4):
            env.step(before)
        env.reset(seed=seed)
        boards.append(env.step(0)[0].copy())
    return boards


left, right = board(1), board(2)
differ = sum(bool((one != other).any()) for one, other in zip(left, right))
print(f"of 20 seeds {differ} lead to other boards after other episodes")
assert differ > 0, "the last action is forgotten now"
PYTHON
