"""Part 3: NoisyNet-DQN on CartPole (the notebook)."""

from __future__ import annotations

from hunch.experiments.claims.drawing import figures
from hunch.experiments.control import noisy_cartpole
from hunch.experiments.control.noisy_cartpole import Settings
from hunch.experiments.demo.outcome import Outcome, claim_block
from hunch.plots import Block, Figures, Text, Video


def run(*, quick: bool, seed: int, progress: bool) -> Outcome:
    """Train the notebook's agent, evaluate it from unseen starts, and record a video."""
    settings = Settings.quick() if quick else Settings()
    result = noisy_cartpole.run(settings, seed=seed, progress=progress)
    checks = noisy_cartpole.check(result)
    row = result.shown.row
    return Outcome(
        summary=(
            f"mean return {row.mean_return:.1f} of {settings.max_episode_steps} over "
            f"{settings.evaluation_episodes} greedy episodes after {settings.frames:,} frames, "
            f"seed {row.seed}"
        ),
        blocks=[
            Text(
                f"A pole on a cart, {settings.frames:,} frames, no ε-greedy: all exploration is "
                "the noise on the weights, and the agent learns how much of it to keep. Episodes "
                f"end after {settings.max_episode_steps} steps. The notebook shows one test "
                f"episode; here there are {settings.evaluation_episodes}, played with the mean "
                "weights from starts that training never saw."
            ),
            claim_block(noisy_cartpole, result, settings, seed=seed),
            Figures(figures("noisy-cartpole", result)),
            *_video(result),
            Text(
                "A time limit is not a fall: the value of the last state is kept in the target. "
                "The loss, the target and every action draw noise of their own. Hidden layers are "
                f"normalised, there are {settings.updates_per_frame} updates a frame, double "
                "Q-learning is on, the target is copied every "
                f"{settings.target_update_period} updates and the learning rate falls to zero. "
                "One seed is no proof: `hunch reproduce noisy-cartpole` runs ten, and "
                "`results/noisy-cartpole.md` of the repository has them.",
                heading="What differs from the notebook",
            ),
        ],
        checks=checks,
        results=result.to_json(),
    )


def _video(result: noisy_cartpole.Result) -> list[Block]:
    video = result.shown.video
    if video is None:
        text = "The video needs two more packages: `pip install 'torch-hunch[video]'`."
        return [Text(text, heading="One episode")]
    return [
        Text("The first of the evaluation episodes, greedy.", heading="One episode"),
        Video(video, f"CartPole, seed {result.shown.row.seed}, played with the mean weights."),
    ]
