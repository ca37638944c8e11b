"""Agents compared over seeds and environments, with how far each figure is known."""

from hunch.comparison.bootstrap import Interval, bootstrap_band, bootstrap_interval
from hunch.comparison.comparing import compare
from hunch.comparison.result import Comparison, Group
from hunch.comparison.scales import Scale
from hunch.comparison.statistics import (
    interquartile_mean,
    mean_score,
    median_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

__all__ = [
    "Comparison",
    "Group",
    "Interval",
    "Scale",
    "bootstrap_band",
    "bootstrap_interval",
    "compare",
    "interquartile_mean",
    "mean_score",
    "median_score",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
]
