"""What may be said of a comparison in sentences, and what to know before it is trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hunch.comparison.bootstrap import Interval
from hunch.comparison.groups import mixed_settings
from hunch.comparison.records import Record
from hunch.comparison.result import Group, said_range, steps_of
from hunch.comparison.scales import HIGHEST, Scale

_ALIKE: Final = 1.05  # steps that differ by less are taken for equal
# Of 100 intervals of confidence 0.95 for interquartile means so many hold the truth, at least and
# at most over shapes of returns, by seeds of each environment: for one of them, and for five.
# Measured by tests/comparison/test_coverage_proof.py.
COVERAGE: Final = {
    3: ((64, 75), (82, 87)),
    5: ((81, 90), (90, 92)),
    10: ((91, 94), (92, 93)),
    20: ((94, 94), (93, 94)),
}
ENOUGH: Final = 20  # seeds, from which on that is nearly as it is called


def verdict_on(
    groups: Sequence[Group],
    environments: Sequence[str],
    ahead: Mapping[tuple[str, str], Interval],
    *,
    part: bool = False,
) -> str:
    """Who is ahead, and whether that is clear.

    Args:
        groups: the first is that of the highest interquartile mean.
        environments: those that all have.
        ahead: probability of improvement by pair.
        part: whether there are other groups, which share no environment with these.
    """
    if part:
        whom = _listed(sorted(own.name for own in groups))
        return f"Of {whom} alone, in {_listed(environments)}: " + verdict_on(
            groups, environments, ahead
        )
    first, others = groups[0], groups[1:]
    if not environments:
        return "No two groups were trained in the same environment, so they are not compared."
    if not others:
        figure = first.figures["interquartile_mean"]
        return f"{first.name} is alone: interquartile mean {figure}."
    chances = {own.name: ahead[first.name, own.name] for own in others}
    if any(chance.low is None for chance in chances.values()):
        return (
            "One seed of each: nothing can be said about spread, and so not which of them is "
            "better."
        )
    unclear = [name for name, chance in chances.items() if (chance.low or 0.0) <= 0.5]
    if not unclear:
        who = others[0].name if len(others) == 1 else "any other"
        least = min(chances.values(), key=lambda chance: chance.low or 0.0)
        return f"{first.name} is ahead: a seed of it beats one of {who} with probability {least}."
    return (
        f"{first.name} has the highest interquartile mean, but these seeds do not tell it from "
        f"{_listed(unclear)}: the interval of the probability that a seed of it does better holds "
        "one half."
    )


def on_the_part(
    groups: Sequence[Group], environments: Sequence[str], left_out: Mapping[str, Sequence[str]]
) -> list[str]:
    """That a part is compared in place of all, and what is left out.

    Args:
        groups: those that are compared.
        environments: that these share.
        left_out: the other groups, and the environments of each.
    """
    others = _listed([f"{name} (of {_listed(envs)})" for name, envs in left_out.items()])
    return [
        f"No environment was played by all groups. The largest part that is common is compared, "
        f"{len(groups)} groups in {_listed(environments)}; left out: {others}."
    ]


def cautions(
    groups: Sequence[Group],
    environments: Sequence[str],
    others: Sequence[str],
    scales: Mapping[str, Scale],
    confidence: float,
    members: tuple[Sequence[Record], Sequence[str]],
) -> list[str]:
    """Sentences on what makes the figures less than they seem.

    Args:
        groups: all of them.
        environments: those that all have.
        others: those that some lack.
        scales: as they were used.
        confidence: of the intervals.
        members: all records, and the group of each.
    """
    said = [
        *_on_seeds(groups, environments, confidence),
        *_on_steps(groups, environments),
    ]
    if environments and others:
        said.append(f"Not every group was trained in {_listed(others)}: left out of all sums.")
    for group, names in mixed_settings(*members).items():
        said.append(f"{group} is of trainings with other {_listed(names)}.")
    if any(scale.why_high == HIGHEST for scale in scales.values()):
        said.append(
            "Where the highest score here is 1, scores change with what is compared; state a scale "
            "for figures that are to stand."
        )
    return said


def _on_seeds(groups: Sequence[Group], environments: Sequence[str], confidence: float) -> list[str]:
    said = []
    counts = {(own.name, env): len(own.returns[env]) for own in groups for env in environments}
    single = {group: None for (group, _), count in counts.items() if count == 1}
    if single:
        said.append(
            f"Of {_listed(list(single))} there is an environment with one seed, of whose spread "
            "nothing can be said: intervals leave it out."
        )
    several = [count for count in counts.values() if count > 1]
    if several and min(several) < ENOUGH and confidence == 0.95:
        few = min(several)
        known = max((n for n in COVERAGE if n <= few), default=min(COVERAGE))
        one, five = COVERAGE[known]
        called = f"{few} seeds" if few == known else f"{few} seeds, as with {known},"
        share = one if len(environments) == 1 else five
        said.append(
            f"With {called} an interval that is to hold the truth 95 times of 100 does so "
            f"{said_range(share)} times, by how returns are spread."
        )
    uneven = [own.name for own in groups if len({counts[own.name, e] for e in environments}) > 1]
    if uneven:
        said.append(
            f"{_listed(uneven)} has unlike numbers of seeds in its environments; one with more "
            "counts for more in the interquartile mean."
        )
    return said


def _on_steps(groups: Sequence[Group], environments: Sequence[str]) -> list[str]:
    for env in environments:
        ends = [steps_of(own, [env]) for own in groups]
        if max(high for _, high in ends) > _ALIKE * min(low for low, _ in ends):
            steps = ", ".join(
                f"{own.name} {said_range(e)}" for own, e in zip(groups, ends, strict=True)
            )
            return [
                f"Trained for unequal steps in {env} ({steps}): the figures do not correct that."
            ]
    return []


def _listed(names: Sequence[str]) -> str:
    """Names with commas, `and` before the last.

    Example:
        >>> _listed(["a", "b", "c"])
        'a, b and c'
    """
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
