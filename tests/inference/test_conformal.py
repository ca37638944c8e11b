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
