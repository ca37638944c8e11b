"""How much of hunch a reader passes through in one training step of an agent.

    python tools/reading_length.py [--calls]

A training step is an action of the agent in each environment, a step of the environments, and the
update that is due. Each agent learns at its defaults on CartPole for a while; then the functions of
hunch that single steps call are traced, and the step with the most calls that begins no episode
counts. Printed are

- the lines of those functions, each once, from `def` to the end, with docstring and comments;
- the files they are in;
- the calls, those of functions within functions and of comprehensions left out;
- with `--calls` each function, its length and how often it was called.
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
import torch

import hunch
from hunch.rl import A2C, DQN, BootstrappedDQN

HOME = str(Path(hunch.__file__).parent)
BEFORE = 640  # environment steps before the first step that is traced
TRACED = 48  # rounds of steps; a rollout of A2C has 16


def traced_step(agent: Any) -> Counter[CodeType]:
    """How often each function of hunch is called in one step of an agent's training loop."""
    called: Counter[CodeType] = Counter()

    def trace(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(HOME) and "<" not in code.co_name:
            called[code] += 1

    sys.setprofile(trace)
    try:
        agent._loop._step(agent)
    finally:
        sys.setprofile(None)
    return called


def longest_step(agent: Any) -> Counter[CodeType]:
    """The step with the most calls among some that begin no episode."""
    steps = []
    for _ in range(TRACED):
        is_first = bool(np.any(agent._loop._ended))
        called = traced_step(agent)
        if not is_first and not np.any(agent._loop._ended):
            steps.append(called)
    return max(steps, key=lambda called: sum(called.values()))


def lines_of(code: CodeType) -> int:
    """Lines of a function as it stands in its file."""
    return len(inspect.getsourcelines(code)[0])


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| agent | lines | functions | files | calls |")
    print("|---|---|---|---|---|")
    for made in (DQN, BootstrappedDQN, A2C):
        agent = made("CartPole-v1", seed=0).learn(BEFORE, progress=False)
        called = longest_step(agent)
        lines = sum(map(lines_of, called))
        files = {code.co_filename for code in called}
        row = [made.__name__, lines, len(called), len(files), sum(called.values())]
        print("| " + " | ".join(map(str, row)) + " |")
        if "--calls" in sys.argv:
            for code, count in called.items():
                place = Path(code.co_filename).relative_to(HOME)
                print(f"    {place}: {code.co_qualname} ({lines_of(code)} lines) × {count}")


if __name__ == "__main__":
    main()
