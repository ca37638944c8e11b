import os
import sys

import gymnasium
import numpy as np
import pytest

from hunch.errors import ConfigurationError, FolderError, MissingDependencyError
from hunch.rl import DQN, evaluate, record
from hunch.rl.runs.video import encode_mp4, shrink

pytest.importorskip("imageio_ffmpeg")
pytest.importorskip("pygame")


@pytest.fixture(scope="module")
def agent():
    return DQN("CartPole-v1", noisy=True, seed=0, env_kwargs={"max_episode_steps": 60})


def test_a_recording_shows_the_evaluation_episode(agent, tmp_path, capfd):
    before = dict(os.environ)
    recording = record(agent, tmp_path / "a.mp4", seed=4, episode=1)
    assert recording.total_reward == evaluate(agent, 2, seed=4).returns[1]
    assert recording.length == recording.total_reward
    assert (tmp_path / "a.mp4").read_bytes() == recording.video
    assert len(repr(recording)) < 100  # without the file's content
    assert os.listdir(tmp_path) == ["a.mp4"]
    assert dict(os.environ) == before
    assert capfd.readouterr() == ("", "")

    import imageio_ffmpeg

    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "a.mp4"))
    assert frames == recording.length + 1
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    about = next(reader)
    reader.close()
    assert about["codec"] == "h264"
    assert about["pix_fmt"].startswith("yuv420p")
    assert about["source_size"] == (300, 200)
    assert about["fps"] == 50


def test_the_same_episode_gives_the_same_file(agent):
    assert record(agent, seed=4).video == record(agent, seed=4).video


def test_200_steps_stay_small():
    rng = np.random.default_rng(0)
    agent = DQN("CartPole-v1", seed=0)
    agent.predict = lambda observation, deterministic: int(observation[2] + observation[3] > 0)
    recording = record(agent, seed=int(rng.integers(100)), max_steps=200)
    assert recording.length == 200
    assert len(recording.video) < 150_000


def test_an_environment_object_is_recorded_as_well():
    env = gymnasium.make("CartPole-v1", max_episode_steps=5)
    assert record(DQN(env, seed=0)).length == 5
    assert (
        record(DQN(lambda **kwargs: gymnasium.make("CartPole-v1", **kwargs)), max_steps=3).length
        == 3
    )


def test_shrinking_averages_and_leaves_even_sides():
    frame = np.zeros((7, 12, 3), np.uint8)
    frame[0, 0] = 100
    small = shrink(frame, max_width=6)
    assert small.shape == (2, 6, 3)
    assert small[0, 0].tolist() == [25, 25, 25]
    assert small.sum() == 75
    assert shrink(frame, max_width=12).shape == (6, 12, 3)


def test_misuse_is_named(agent, steady, tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="render_mode=None; expected 'rgb_array'"):
        record(DQN(steady()))
    with pytest.raises(FolderError, match=r"`path` .* cannot be written"):
        record(agent, tmp_path / "no" / "a.mp4")
    with pytest.raises(ConfigurationError, match="`fps` got 0"):
        record(agent, fps=0)
    with pytest.raises(ConfigurationError, match="no image"):
        encode_mp4([])
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "torch-hunch\[video\]"'):
        record(agent)


def test_an_environment_without_render_mode_is_told_what_to_take(steady):
    """Not in the words of Python's error about an argument that nobody of the user's named."""

    def make_env():
        return steady()

    gymnasium.register("NoRenderMode-v0", entry_point=make_env)
    try:
        for env in (make_env, "NoRenderMode-v0"):
            with pytest.raises(ConfigurationError, match="takes no `render_mode`, so") as caught:
                record(DQN(env))
            assert "unexpected keyword" not in str(caught.value)
    finally:
        del gymnasium.registry["NoRenderMode-v0"]

    def broken(render_mode=None):
        raise TypeError("another one")

    with pytest.raises(ConfigurationError, match="another one"):
        record(DQN("CartPole-v1"), env=broken)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (NotImplementedError(), r"NotImplementedError\.\)"),
        (OSError("no display"), r"OSError: no display\.\)"),
        (RuntimeError("EGL failed\nin many lines"), r"RuntimeError: EGL failed\.\)"),
    ],
)
def test_whatever_drawing_raises_is_one_line(steady, fault, said):
    env = steady()
    env.render_mode = "rgb_array"

    def render():
        raise fault

    env.render = render
    with pytest.raises(ConfigurationError, match="cannot draw here .*" + said) as caught:
        record(DQN(env))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("image", ["text", np.zeros((4, 4)), np.zeros((1, 1, 3), np.uint8)])
def test_what_is_no_image_is_named(steady, image):
    env = steady()
    env.render_mode, env.render = "rgb_array", lambda: image
    with pytest.raises(ConfigurationError, match="expected an array"):
        record(DQN(env))


def test_a_video_that_ffmpeg_cannot_write(agent, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(FolderError, match="ffmpeg wrote no video"):
        encode_mp4([np.zeros((16, 16, 3), np.uint8)])
    import imageio_ffmpeg

    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    with pytest.raises(MissingDependencyError, match="pip install"):
        record(agent)
