"""Agents that explore, and what they stand on.

- `DQN`: deep Q-learning, with the switches that make it Rainbow.
- `BootstrappedDQN`: an ensemble with randomised priors that explores by Thompson sampling.
- `Reinforce`: policy gradients from whole episodes, with a baseline.
- `A2C`: the advantage actor-critic, also with noisy layers in place of an entropy bonus.
- `evaluate`: episodes that an agent neither learns from nor was trained on.
- `record`: one episode as a video.
- `Evaluate`, `Checkpoint`, `StopOnReturn`, `StopWhenSolved`, `CsvLog`, `TensorBoardLog`: callbacks
  for `learn`.
- `Plan`, `Run`: a training in a folder, which goes on to the same bits after a kill.
- `Linear`: a number that changes in a straight line while an agent learns.
- `Replay`: the buffer of transitions.
"""

from __future__ import annotations

from hunch.rl.actor_critic import A2C
from hunch.rl.bootstrapped_dqn import BootstrappedDQN
from hunch.rl.callbacks import Evaluate, Score, StopOnReturn, StopWhenSolved
from hunch.rl.checkpoints import Checkpoint
from hunch.rl.dqn import DQN
from hunch.rl.evaluation import Evaluation, evaluate
from hunch.rl.logs import CsvLog, TensorBoardLog
from hunch.rl.plans import Plan
from hunch.rl.reinforce import Reinforce
from hunch.rl.replay import Replay
from hunch.rl.runs import Run
from hunch.rl.schedules import Linear
from hunch.rl.training import History
from hunch.rl.transitions import Transitions
from hunch.rl.video import Recording, record

__all__ = [
    "A2C",
    "DQN",
    "BootstrappedDQN",
    "Checkpoint",
    "CsvLog",
    "Evaluate",
    "Evaluation",
    "History",
    "Linear",
    "Plan",
    "Recording",
    "Reinforce",
    "Replay",
    "Run",
    "Score",
    "StopOnReturn",
    "StopWhenSolved",
    "TensorBoardLog",
    "Transitions",
    "evaluate",
    "record",
]
