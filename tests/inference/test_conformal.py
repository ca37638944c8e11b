import json
from pathlib import Path

import pytest
import torch

from hunch.errors import ConfigurationError, DataError, ShapeError
from hunch.inference import (
    bootstrap_weights,
    conformal_classes,
    conformal_quantile,
    jackknife_after_bootstrap,
    split_conformal,
)

# Made by make_mapie.py beside this file.
MAPIE = {
    name: torch.tensor(value, dtype=None if name in ("label", "sets") else torch.float64)
    for name, value in json.loads(
        (Path(__file__).parent / "data" / "mapie.json").read_text("utf-8")
    ).items()
}


@pytest.mark.parametrize(("level", "coverage"), [(0, 0.8), (1, 0.9)])
def test_equal_to_mapie(level, coverage):
    y = MAPIE["y"]
    jackknife = jackknife_after_bootstrap(
        MAPIE["members"], MAPIE["weights"], y, MAPIE["new_members"], coverage=coverage
    )
    torch.testing.assert_close(torch.stack(jackknife, 1), MAPIE["jackknife"][:, :, level])
    split = split_conformal(MAPIE["split_mean"], y[30:])
    ends = split.interval(MAPIE["split_new"], coverage=coverage)
    torch.testing.assert_close(torch.stack(ends, 1), MAPIE["split"][:, :, level])
    sets = conformal_classes(MAPIE["probs"], MAPIE["label"], MAPIE["new_probs"], coverage=coverage)
    assert sets.equal(MAPIE["sets"][:, :, level])


def least_squares(x, y, weights):
    """Each member's predictor, `(members, features, 1)`."""
    gram = x.mT @ (weights.unsqueeze(-1) * x) + 1e-6 * torch.eye(x.shape[-1], dtype=x.dtype)
    return torch.linalg.solve(gram, x.mT @ (weights.unsqueeze(-1) * y.unsqueeze(-1)))


def heavy_tailed(problems, n, g):
    """Exchangeable data whose noise depends on x and has heavy tails: x `(problems, n, 5)`, y."""
    x = torch.randn(problems, n, 5, dtype=torch.float64, generator=g)
    noise = torch.randn(2, problems, n, dtype=torch.float64, generator=g)
    return x, x.sum(-1) + x[..., 0].exp() * noise[0] / (noise[1].abs() + 0.1)


def test_split_conformal_covers_exchangeable_data_exactly():
    # Coverage over 20,000 problems of 25 data is ⌈26·0.8⌉/26 = 21/26 = 0.8077; its standard error
    # is 0.0028, and five of them leave a false alarm in 2 million.
    g = torch.Generator().manual_seed(0)
    x, y = heavy_tailed(20_000, 26, g)
    for scale in (None, x[..., 0].exp()):
        old, new = (None, None) if scale is None else (scale[:, :25].T, scale[:, 25])
        split = split_conformal(x[:, :25].sum(-1).T, y[:, :25].T, scale=old)
        low, high = split.interval(x[:, 25].sum(-1), scale=new, coverage=0.8)
        inside = ((low <= y[:, 25]) & (y[:, 25] <= high)).double().mean().item()
        assert abs(inside - 21 / 26) < 5 * 0.0028


def test_jackknife_after_bootstrap_covers_exchangeable_data():
    # 1,000 problems of 30 data: promised 0.8, standard error 0.01. Far above would be a loss too.
    g = torch.Generator().manual_seed(0)
    problems, n, k = 1000, 30, 40
    x, y = heavy_tailed(problems, n + 1, g)
    inside = 0
    for i in range(problems):
        weights = bootstrap_weights("poisson", k, range(n), seed=i)
        theta = least_squares(x[i, :n].unsqueeze(0), y[i, :n].unsqueeze(0), weights.double())
        predicted = (x[i] @ theta).squeeze(-1)
        low, high = jackknife_after_bootstrap(
            predicted[:, :n], weights, y[i, :n], predicted[:, n:], coverage=0.9
        )
        inside += bool((low <= y[i, n]) & (y[i, n] <= high))
    # A false alarm needs five standard errors: 1 in 2 million.
    assert 0.9 - 0.047 < inside / problems < 0.9 + 0.047


def test_chunks_change_nothing_and_outputs_stand_alone():
    g = torch.Generator().manual_seed(0)
    members = torch.randn(9, 20, 2, generator=g)
    y, new = torch.randn(20, 2, generator=g), torch.randn(9, 13, 2, generator=g)
    weights = bootstrap_weights("multinomial", 9, range(20))
    whole = jackknife_after_bootstrap(members, weights, y, new)
    chunked = jackknife_after_bootstrap(members, weights, y, new, max_elements=100)
    one = jackknife_after_bootstrap(members[..., 1], weights, y[:, 1], new[..., 1])
    for end in (0, 1):
        torch.testing.assert_close(whole[end], chunked[end])
        torch.testing.assert_close(whole[end][:, 1], one[end])
        assert whole[end].shape == (13, 2)


def test_a_datum_that_all_members_saw_widens_the_interval():
    members, y = torch.zeros(4, 19), torch.arange(19.0)
    weights = torch.ones(4, 19)
    weights[0] = 0
    new = torch.zeros(4, 1)
    low, high = jackknife_after_bootstrap(members, weights, y, new)
    assert (low.item(), high.item()) == (-17, 17)
    weights[0, 3] = 1  # that datum's error of 3 is now beyond all others
    low, high = jackknife_after_bootstrap(members, weights, y, new)
    assert (low.item(), high.item()) == (-18, 18)
    weights[0, 4] = 1
    assert jackknife_after_bootstrap(members, weights, y, new)[1].isinf().all()


def test_too_few_data_give_infinite_intervals_and_say_so():
    with pytest.warns(UserWarning, match="8 data are too few for a coverage of 0.9, .* least 9"):
        assert conformal_quantile(torch.zeros(8), 0.9).isinf()
    assert conformal_quantile(torch.arange(9.0), 0.9) == 8
    with pytest.warns(UserWarning, match="3 data are too few"):
        low, high = jackknife_after_bootstrap(
            torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3), torch.zeros(2, 5)
        )
    assert (low == -torch.inf).all()
    assert (high == torch.inf).all()


def test_wrong_use_is_refused():
    split = split_conformal(torch.zeros(50), torch.randn(50))
    with pytest.raises(ConfigurationError, match="`coverage` got 90"):
        split.radius(90)
    with pytest.raises(ConfigurationError, match="`scale` got a value; expected none"):
        split.interval(torch.zeros(3), scale=1.0)
    with pytest.raises(ConfigurationError, match="`scale` got None; expected one"):
        split_conformal(torch.zeros(50), torch.randn(50), scale=1.0).interval(torch.zeros(3))
    with pytest.raises(DataError, match="not above 0"):
        split_conformal(torch.zeros(5), torch.zeros(5), scale=torch.zeros(5))
    with pytest.raises(DataError, match="holds NaN"):
        split_conformal(torch.zeros(5), torch.full((5,), torch.nan))
    with pytest.raises(ShapeError, match=r"`mean` got shape \(5, 1\) and `y` \(5,\)"):
        split_conformal(torch.zeros(5, 1), torch.zeros(5))
    with pytest.raises(DataError, match="expected at least one score"):
        conformal_quantile(torch.zeros(0), 0.5)
    with pytest.raises(ShapeError, match="`new_members`"):
        jackknife_after_bootstrap(
            torch.zeros(2, 3, 1), torch.zeros(2, 3), torch.zeros(3, 1), torch.zeros(2, 5)
        )
    with pytest.raises(ShapeError, match="`new_probs`"):
        conformal_classes(torch.zeros(3, 2), torch.zeros(3).long(), torch.zeros(3, 4))


def of_groups(problems, groups, rows, g):
    """Errors of which rows of a group share the larger part."""
    group = torch.arange(groups).repeat_interleave(rows)
    shared = torch.randn(problems, groups, dtype=torch.float64, generator=g)
    own = torch.randn(problems, len(group), dtype=torch.float64, generator=g)
    return group, shared[:, group] + 0.05 * own


def test_a_row_of_a_new_group_is_covered_as_often_as_promised():
    # 4,000 problems of 9 groups and a new one: promised 0.85, and given 0.9, as 9 of 10 groups;
    # standard error at most 0.0063, so that five leave a false alarm in 2 million. Where rows are
    # counted it is 0.8.
    g = torch.Generator().manual_seed(0)
    group, errors = of_groups(4_000, 10, 10, g)
    old = group < 9
    scores = errors[:, old].T
    radius = conformal_quantile(scores.abs(), 0.85, groups=group[old])
    inside = (errors[:, ~old].abs() <= radius[:, None]).double().mean().item()
    assert 0.85 < inside < 0.9 + 5 * 0.0063
    rows = conformal_quantile(scores.abs(), 0.85)
    assert (errors[:, ~old].abs() <= rows[:, None]).double().mean() < 0.85 - 5 * 0.0063
    split = split_conformal(torch.zeros_like(scores), scores, groups=group[old])
    assert split.radius(0.85).equal(radius)
    with pytest.warns(UserWarning, match="8 groups are too few for a coverage of 0.9"):
        assert (
            conformal_quantile(scores[group[old] < 8], 0.9, groups=group[group < 8]).isinf().all()
        )


def test_groups_of_one_are_data_and_a_group_counts_once():
    g = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 3, generator=g, dtype=torch.float64)
    alone = conformal_quantile(scores, 0.9, groups=[f"row {i}" for i in range(40)])
    assert alone.equal(conformal_quantile(scores, 0.9))
    several = scores.repeat_interleave(torch.arange(40) % 5 + 1, dim=0)
    group = torch.arange(40).repeat_interleave(torch.arange(40) % 5 + 1)
    order = torch.randperm(len(group), generator=g)
    assert conformal_quantile(several[order], 0.9, groups=group[order]).equal(alone)
    probs = torch.rand(40, 2, generator=g).softmax(1)
    sets = conformal_classes(probs, torch.zeros(40).long(), probs)
    grouped = conformal_classes(probs, torch.zeros(40).long(), probs, groups=range(40))
    assert grouped.equal(sets)


def test_jackknife_after_bootstrap_over_groups():
    # Of 30 groups each of 5 equal data is as the 30 data, to the last bit of the ranks.
    g = torch.Generator().manual_seed(0)
    members, y = torch.randn(9, 30, generator=g), torch.randn(30, generator=g)
    new = torch.randn(9, 7, generator=g)
    weights = bootstrap_weights("poisson", 9, range(30), seed=1)
    group = torch.arange(30).repeat(5)
    once = jackknife_after_bootstrap(members, weights, y, new)
    several = jackknife_after_bootstrap(
        members[:, group], weights[:, group], y[group], new, groups=group
    )
    for end in (0, 1):
        torch.testing.assert_close(once[end], several[end])
    with pytest.raises(DataError, match="`weights` differ among data of one group"):
        jackknife_after_bootstrap(members, weights, y, new, groups=torch.arange(30) % 6)


@pytest.mark.parametrize(
    ("groups", "error", "said"),
    [
        ([1, 2], ShapeError, r"`groups` got shape \(2,\); expected \(3,\)"),
        (["a", None, "b"], DataError, "`groups` holds None in row 1; expected a group for each"),
        ([1.0, 2.0, float("nan")], DataError, "`groups` holds nan in row 2"),
    ],
)
def test_what_names_no_groups_is_refused(groups, error, said):
    with pytest.raises(error, match=said):
        split_conformal(torch.zeros(3), torch.zeros(3), groups=groups)
