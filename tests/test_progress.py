"""The bar of a terminal, and the lines of everything else."""

import io
import sys
import time

import pytest

from hunch import progress
from hunch.progress import Lines, progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def to_file(monkeypatch):
    """Makes standard error one that is no terminal, with a line every hundredth of a second.

    It is called in the test: pytest puts its own in place between fixtures and test.
    """

    def make():
        monkeypatch.setattr(progress, "PERIOD", 0.01)
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        return sys.stderr

    return make


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [0.0]
    monkeypatch.setattr("hunch.progress.time.monotonic", lambda: now[0])
    return now


def wait_for(said, text):
    end = time.perf_counter() + 20
    while text not in said.getvalue() and time.perf_counter() < end:
        time.sleep(0.005)
    assert text in said.getvalue()


def test_a_line_says_how_far_how_fast_and_how_long_still(clock):
    lines = Lines(280, "counting", "step")
    assert lines.line() == "counting: 0 of 280 steps (0 %), 0 s so far"
    clock[0] = 10.0
    lines.update(80)
    lines.set_postfix_str("mean 7")
    assert lines.line() == (
        "counting: 80 of 280 steps (29 %), 10 s so far, about 25 s left, 8 steps/s, mean 7"
    )
    clock[0] = 3700.0
    lines.update(200)
    assert (
        lines.line() == "counting: 280 of 280 steps (100 %), 1:01:40 so far, 0.0757 steps/s, mean 7"
    )


def test_of_an_unknown_whole_there_is_no_share(clock):
    lines = Lines(0, "reading", "%")
    clock[0] = 61.0
    lines.update(7)
    assert lines.line() == "reading: 7 %, 1:01 so far"


def test_a_file_gets_whole_lines_however_long_a_unit_takes(to_file):
    file = to_file()
    with progress_bar(4, "counting", "step") as bar:
        wait_for(file, "0 of 4 steps (0 %)")  # nothing is done yet
        bar.update(3)
        wait_for(file, "3 of 4 steps (75 %)")
        bar.update()
    said = file.getvalue()
    assert "\r" not in said
    assert all(line.startswith("counting: ") for line in said.splitlines())
    assert said.splitlines()[-1].startswith("counting: 4 of 4 steps (100 %)")


def test_short_work_leaves_no_trace_in_a_file(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress_bar(4, "counting", "step") as bar:
        bar.update(4)
    assert sys.stderr.getvalue() == ""


def test_an_error_leaves_how_far_it_came_and_no_thread(to_file):
    file = to_file()

    def work():
        with progress_bar(100, "counting", "step") as bar:
            bar.update(7)
            wait_for(file, "7 of 100")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    said = file.getvalue()
    assert said.splitlines()[-1].startswith("counting: 7 of 100 steps (7 %)")
    time.sleep(0.05)
    assert file.getvalue() == said


def test_a_reader_that_went_away_stops_nothing(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(progress, "PERIOD", 0.001)
    monkeypatch.setattr(sys, "stderr", Gone())
    with progress_bar(4, "counting", "step") as bar:
        time.sleep(0.05)
        bar.update(4)


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(10, "counting", "step") as bar:
        bar.update(10)
    assert "\rcounting:" in sys.stderr.getvalue()


def test_a_notebook_gets_a_bar(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress._is_watched()


@pytest.mark.parametrize("stderr", [None, object()])
def test_no_standard_error_is_no_terminal(stderr, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stderr)
    assert not progress._is_watched()


def test_where_there_is_no_standard_error_nothing_goes_to_standard_output(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PERIOD", 0.001)
    monkeypatch.setattr(sys, "stderr", None)
    with progress_bar(10, "counting", "step"):
        time.sleep(0.05)
    assert capsys.readouterr().out == ""


def test_switched_off_nothing_is_said(to_file):
    file = to_file()
    with progress_bar(10, "counting", "step", enabled=False):
        time.sleep(0.05)
    assert file.getvalue() == ""
