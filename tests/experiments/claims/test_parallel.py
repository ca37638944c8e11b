"""Runs of an experiment at the same time, and what the bar over them says."""

from contextlib import contextmanager

from hunch.experiments.claims import parallel
from hunch.experiments.claims.parallel import collect, in_processes


class Told:
    """A bar that keeps what it was told."""

    def __init__(self):
        self.told, self.count = [], 0

    def update(self, n=1):
        self.count += n

    def set_postfix_str(self, s="", refresh=True):
        self.told.append(s)


def test_work_in_processes_comes_back_whole():
    assert sorted(in_processes(abs, [-3, 2, -1], jobs=2)) == [1, 2, 3]


def test_the_bar_says_what_was_done_last(monkeypatch):
    bar = Told()

    @contextmanager
    def told(total, label, unit, *, enabled):
        assert (total, label, unit, enabled) == (2, "counting", "number", True)
        yield bar

    monkeypatch.setattr(parallel, "progress_bar", told)
    how = {"label": "counting", "unit": "number", "progress": True}
    assert collect(range, [1, 2], 1, **how, told=lambda done: f"up to {done[-1]}") == [0, 0, 1]
    assert (bar.told, bar.count) == (["up to 0", "up to 1"], 2)
