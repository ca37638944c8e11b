"""Agents that explore, and what they stand on.

- `DQN`: deep Q-learning, with the switches that make it Rainbow.
- `BootstrappedDQN`: an ensemble with randomised priors that explores by Thompson sampling.
- `Reinforce`: policy gradients from whole episodes, with a baseline.
- `A2C`: the advantage actor-critic, also with noisy layers in place of an entropy bonus.
- `PQN`: Q-learning from many environments at once, without replay and without a target network.
- `Agent`: what they have in common, for one of your own; `NetworkPolicy` is how it acts outside
  training, and `Step` what it observes.
- `evaluate`: episodes that an agent neither learns from nor was trained on.
- `record`: one episode as a video.
- `Evaluate`, `Checkpoint`, `StopOnReturn`, `StopWhenSolved`: callbacks for `learn`.
- `CsvLog`, `TensorBoardLog`, `WandbLog`, `TrackioLog`: callbacks that write down how it goes.
- `Plan`, `Run`: a training in a folder, which goes on to the same bits after a kill.
- `Linear`: a number that changes in a straight line while an agent learns.
- `Replay`: the buffer of transitions.
"""

from __future__ import annotations

from hunch.rl.agents.a2c import A2C
from hunch.rl.agents.agent import Agent
from hunch.rl.agents.bootstrapped_dqn import BootstrappedDQN
from hunch.rl.agents.dqn import DQN
from hunch.rl.agents.history import History
from hunch.rl.agents.pqn import PQN
from hunch.rl.agents.reinforce import Reinforce
from hunch.rl.agents.replica import NetworkPolicy
from hunch.rl.agents.schedules import Linear
from hunch.rl.replay.replay import Replay
from hunch.rl.replay.transitions import Step, Transitions
from hunch.rl.runs.callbacks import Evaluate, Score, StopOnReturn, StopWhenSolved
from hunch.rl.runs.checkpoints import Checkpoint
from hunch.rl.runs.dashboards import TrackioLog, WandbLog
from hunch.rl.runs.evaluation import Evaluation, evaluate
from hunch.rl.runs.loggers import CsvLog, TensorBoardLog
from hunch.rl.runs.plan import Plan
from hunch.rl.runs.run import Run
from hunch.rl.runs.video import Recording, record

__all__ = [
    "A2C",
    "DQN",
    "PQN",
    "Agent",
    "BootstrappedDQN",
    "Checkpoint",
    "CsvLog",
    "Evaluate",
    "Evaluation",
    "History",
    "Linear",
    "NetworkPolicy",
    "Plan",
    "Recording",
    "Reinforce",
    "Replay",
    "Run",
    "Score",
    "Step",
    "StopOnReturn",
    "StopWhenSolved",
    "TensorBoardLog",
    "TrackioLog",
    "Transitions",
    "WandbLog",
    "evaluate",
    "record",
]
