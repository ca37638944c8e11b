"""The commands in environments whose observations and actions have parts."""

import csv

import pytest

from hunch.cli.main import DONE, run

LOT = """
import gymnasium, numpy as np
from gymnasium import spaces

class Lot(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"]}
    observation_space = spaces.Dict(right=spaces.Discrete(6), b=spaces.Box(0, 1, (2,), np.float32))
    action_space = spaces.MultiDiscrete([2, 3])
    def __init__(self, render_mode=None): self.render_mode = render_mode
    def seen(self):
        self.right = int(self.np_random.integers(6))
        return {"right": self.right, "b": np.zeros(2, np.float32)}
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.seen(), {}
    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        right = 3 * action[0] + action[1] == self.right
        return self.seen(), float(right), False, self.t == 5, {}
    def render(self): return np.full((64, 64, 3), 20 * self.t, np.uint8)
"""
ENVS = {"lot.py:Lot": [], "FrozenLake-v1": ["--env=is_slippery=false"]}


@pytest.mark.parametrize("env", ENVS)
def test_a_run_from_its_check_to_its_film(env, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lot.py").write_text(LOT)
    words = ENVS[env]
    named = [env] if ".py" in env else []
    assert run(["check-env", env, *words, "--steps=60"]) == DONE
    assert "all of them can play it" in capsys.readouterr().out
    short = ["--replicas=2", "--eval-every=100", "--set=hidden_sizes=8", "--set=batch_size=8"]
    for folder, steps in (("whole", 300), ("parts", 200)):
        assert (
            run(["train", "dqn", env, *words, *short, f"--steps={steps}", f"--out={folder}"])
            == DONE
        )
    again = ["dqn", *named] if named else []
    assert run(["train", *again, "--resume", "parts", "--steps=300"]) == DONE
    for log in ("episodes.csv", "evaluations.csv"):
        whole, parts = ((tmp_path / f / "logs" / log).read_text() for f in ("whole", "parts"))
        assert whole == parts
        assert len(list(csv.reader(whole.splitlines()))) > 2
    capsys.readouterr()
    film = ["--video=film.mp4"] if _can_film() else []
    assert run(["play", "whole", *named, "--episodes=2", *film]) == DONE
    assert "Replica 0: return" in capsys.readouterr().out
    assert (tmp_path / "film.mp4").exists() == bool(film)
    assert run(["compare", "whole", "parts"]) == DONE


def _can_film():
    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError:
        return False
    return True
