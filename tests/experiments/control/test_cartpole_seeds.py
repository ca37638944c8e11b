"""Replicas on CartPole, evaluated by their best weights."""

import dataclasses
import json

from hunch.experiments.control import cartpole_seeds


def test_replicas_are_evaluated_by_their_best_weights():
    settings = cartpole_seeds.Settings(2, 600, 300, 2, 4)
    result = cartpole_seeds.run(settings, seed=5, progress=False)
    assert [seed.seed for seed in result.seeds] == [5, 6]
    assert result.curves.mean_return.shape == (2, 2)
    assert {seed.best_frame for seed in result.seeds} <= {300, 600}
    json.dumps(result.to_json(), allow_nan=False)

    def with_best(returns):
        seeds = [dataclasses.replace(result.seeds[0], best_mean_return=r) for r in returns]
        full = cartpole_seeds.Result(cartpole_seeds.Settings(), tuple(seeds), result.curves)
        return cartpole_seeds.check(full)

    assert all(check.holds for check in with_best([490.0] * 18 + [100.0] * 2))
    assert not all(check.holds for check in with_best([490.0] * 17 + [489.9] * 3))
