"""One episode as a small MP4 that browsers play (extra `video`)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from hunch.errors import (
    ConfigurationError,
    FolderError,
    MissingDependencyError,
    kind_and_sentence,
    sentence,
)
from hunch.interrupts import between_steps
from hunch.rl.environments.make import Env, EnvLike, evaluation_reset_seed, rendering_env
from hunch.rl.runs.evaluation import check_for
from hunch.seeding import check_seed
from hunch.storage import check_writable, expanded, new_file, scratch_folder, written_with
from hunch.validation import real_number, whole_number

Frame = NDArray[np.uint8]

USUAL_FPS: Final = 30.0  # where an environment does not say
# The last box of a file that we wrote, free as MP4 calls one that players pass over.
_OURS: Final = "written by hunch"
_MARK: Final = (8 + len(_OURS)).to_bytes(4, "big") + b"free" + _OURS.encode()
_ours: Final = written_with(_OURS)

# Pygame greets on standard output and SDL looks for a screen unless these are set.
_QUIET = {
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    "SDL_VIDEODRIVER": "dummy",
    "SDL_AUDIODRIVER": "dummy",
}


class Player(Protocol):
    """What a recording asks of an agent."""

    def predict(self, observation: Any, deterministic: bool = True) -> Any:
        """An action for one observation."""

    def rendering_env(self) -> Env:
        """A new environment equal to the one that the agent is trained on, which draws images."""


@dataclass(frozen=True)
class Recording:
    """A recorded episode.

    Args:
        video: the MP4 file's content: H.264, yuv420p.
        total_reward: undiscounted sum of rewards.
        length: environment steps; the video has one image more.
    """

    video: bytes = field(repr=False)
    total_reward: float
    length: int


def record(
    agent: Player,
    path: str | os.PathLike[str] | None = None,
    *,
    env: EnvLike | None = None,
    seed: int = 0,
    episode: int = 0,
    fps: float | None = None,
    max_width: int = 320,
    max_steps: int = 2_000,
) -> Recording:
    """Play one episode with the agent's best actions and record it.

    Args:
        agent: anything with `predict` and `rendering_env`, such as `hunch.rl.DQN`.
        path: where to write the video; its folder must exist, and only a video that hunch wrote is
            replaced. None writes nothing.
        env: where to play, if not in an environment equal to the one trained in: a Gymnasium id, a
            function that makes one and takes `render_mode`, or an environment that draws, which is
            left open. As in `hunch.rl.evaluate`.
        seed: seed of the start, as in `hunch.rl.evaluate`.
        episode: number of the evaluation episode whose start is used.
        fps: images per second; None is the environment's own rate.
        max_width: images are shrunk by a whole factor until they are no wider, in pixels.
        max_steps: environment steps after which recording stops.

    Returns:
        The video and how the episode went.

    Raises:
        MissingDependencyError: if imageio with ffmpeg, or what the environment draws with, is not
            installed.
        ConfigurationError: if the environment draws no images, cannot be made, or is not equal to
            the one trained in; or a number is out of range.
        FolderError: if `path` cannot be written.
        KeyboardInterrupt: if interrupted, between two steps.

    Example:
        >>> from hunch.rl import DQN, record
        >>> record(DQN("CartPole-v1"), seed=1).video[4:8]
        b'ftyp'
    """
    check_seed(seed)
    whole_number("episode", episode, at_least=0)
    whole_number("max_steps", max_steps, at_least=1)
    if path is not None:
        check_video_place(path)
    _ffmpeg()  # before the episode is played in vain
    start = evaluation_reset_seed(seed, episode)
    with _opened(agent, env) as stage:
        frames, total_reward, own_fps = _play(agent, stage, start, max_steps)
    video = encode_mp4(
        [shrink(frame, max_width) for frame in frames], fps=own_fps if fps is None else fps
    )
    if path is not None:
        with new_file(path, _ours) as file:
            file.write_bytes(video)
    return Recording(video, total_reward, len(frames) - 1)


def check_video_place(path: str | os.PathLike[str]) -> None:
    """Refuse a place to which `record` would not write, before anything is played.

    Raises:
        FolderError: saying what is in the way.

    Example:
        >>> check_video_place("dive.mp4")
    """
    suffix = Path(path).suffix
    if suffix and suffix.lower() != ".mp4":
        raise FolderError(
            f"`path` got {str(path)!r}; expected a name that ends with .mp4, which is what is "
            f"written: {str(Path(path).with_suffix('.mp4'))!r}."
        )
    if not (folder := expanded(path).parent).is_dir():
        raise FolderError(
            f"`path` {str(path)!r} cannot be written: there is no folder {str(folder)!r}."
        )
    check_writable(path, _ours)


def shrink(frame: Frame, max_width: int) -> Frame:
    """Average squares of pixels until `frame (height, width, 3)` is no wider than `max_width`.

    Height and width come out even, as H.264 wants them; a last odd row or column is cut off.

    Example:
        >>> shrink(np.zeros((400, 600, 3), np.uint8), max_width=320).shape
        (200, 300, 3)
    """
    whole_number("max_width", max_width, at_least=2)
    factor = -(-frame.shape[1] // max_width)
    height, width = (2 * (side // (2 * factor)) for side in frame.shape[:2])
    blocks = frame[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    mean: Frame = blocks.mean(axis=(1, 3)).round().astype(np.uint8)
    return mean


def encode_mp4(frames: Sequence[Frame], *, fps: float = 50) -> bytes:
    """Images `(height, width, 3)` of even height and width, as an MP4 file.

    Args:
        frames: the images, at least one.
        fps: images per second, above 0.

    Raises:
        MissingDependencyError: if imageio with ffmpeg is not installed.
        ConfigurationError: if there are no images, or `fps` is not above 0.

    Example:
        >>> len(encode_mp4([np.zeros((16, 16, 3), np.uint8)] * 3)) > 0
        True
    """
    real_number("fps", fps, above=0.0)
    if not len(frames):
        raise ConfigurationError("`frames` got no image; expected at least one.")
    imageio_ffmpeg = _ffmpeg()
    height, width = frames[0].shape[:2]
    try:
        with scratch_folder("video") as folder:
            path = folder / "video.mp4"
            writer = imageio_ffmpeg.write_frames(
                str(path),
                (width, height),
                fps=fps,
                codec="libx264",
                pix_fmt_out="yuv420p",
                macro_block_size=2,
                quality=None,
                ffmpeg_log_level="error",
                # Constant quality; the index in front, so that playing starts before all is
                # loaded; one thread, because the number of threads changes the file.
                output_params=["-crf", "28", "-movflags", "+faststart", "-threads", "1"],
            )
            writer.send(None)
            for frame in frames:
                writer.send(np.ascontiguousarray(frame))
            writer.close()
            return path.read_bytes() + _MARK
    except OSError as error:
        raise FolderError(f"ffmpeg wrote no video: {sentence(error)}") from error


def _ffmpeg() -> Any:
    try:
        found = importlib.import_module("imageio_ffmpeg")
        found.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise MissingDependencyError(
            'A video needs imageio with ffmpeg: pip install "torch-hunch[video]".'
        ) from error
    return found


@contextmanager
def _opened(agent: Player, env: EnvLike | None) -> Iterator[Env]:
    """The environment to be recorded in, closed afterwards if it was opened here."""
    if isinstance(env, gymnasium.Env):
        check_for(agent, env)
        yield env
        return
    stage = agent.rendering_env() if env is None else rendering_env(env)
    try:
        if env is not None:
            check_for(agent, stage)
        yield stage
    finally:
        stage.close()


def _play(
    agent: Player, env: Env, reset_seed: int, max_steps: int
) -> tuple[list[Frame], float, float]:
    fps = float(env.metadata.get("render_fps") or USUAL_FPS)
    total_reward = 0.0
    with between_steps() as interrupted:
        observation, _ = env.reset(seed=reset_seed)
        frames = [_image(env)]
        for _ in range(max_steps):
            if not isinstance(observation, Mapping | tuple):
                observation = np.asarray(observation)
            action = agent.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total_reward += float(reward)
            frames.append(_image(env))
            if terminated or truncated:
                break
            if interrupted():
                raise KeyboardInterrupt
    return frames, total_reward, fps


def _image(env: Env) -> Frame:
    try:
        with _quiet():
            image: Any = env.render()
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingDependencyError(
            f'Drawing {env} needs a package: pip install "torch-hunch[video]" ({error}).'
        ) from error
    except Exception as error:  # whatever a foreign environment needs and has not, as a screen
        if getattr(env.unwrapped.render, "__func__", None) is gymnasium.Env.render:
            raise ConfigurationError(
                f"`env` {env} cannot draw: it has no render method; expected one that returns an "
                "image."
            ) from error
        raise ConfigurationError(
            f"`env` {env} cannot draw here ({kind_and_sentence(error)})"
        ) from error
    shape = np.shape(image) if isinstance(image, np.ndarray) else None
    if shape is None or len(shape) != 3 or shape[2] != 3 or min(shape) < 2:
        raise ConfigurationError(
            f"`env` {env} drew {type(image).__name__}{'' if shape is None else f' {shape}'}; "
            "expected an array (height, width, 3), no side below 2."
        )
    frame: Frame = image
    return frame


@contextmanager
def _quiet() -> Iterator[None]:
    """Within this block drawing neither prints nor needs a screen; the environment is put back."""
    before = {name: os.environ.get(name) for name in _QUIET}
    os.environ.update(_QUIET)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
