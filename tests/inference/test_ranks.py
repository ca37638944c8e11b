"""Members divided among processes: the same bits, whatever the number of ranks."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import ranks_cases
import torch
from torch import nn

from hunch.errors import ConfigurationError
from hunch.inference import ClassPredictive, Predictive, PredictiveModule, fit, predict
from hunch.inference.divided import DividedClassPredictive, DividedPredictive
from hunch.inference.reductions import ordered, total
from hunch.nn import MLP, Ensemble, Epinet, RandomizedPrior, Ranks, save
from hunch.nn.ranks import Alone, Share, ranks_for

pytest.importorskip("torch.distributed")
HERE = Path(__file__).parent


@dataclass(frozen=True)
class OneOf(Ranks):
    """A rank without the others, for what they do not tell each other."""

    number: int = 0
    count: int = 1

    @property
    def rank(self):
        return self.number

    @property
    def size(self):
        return self.count


def torchrun(number, *words, **environment):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={number}", *map(str, words)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


@pytest.fixture(scope="module")
def alone():
    pytest.importorskip("sklearn")
    return ranks_cases.all_bits(Ranks())


@pytest.mark.parametrize("number", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_bits_do_not_depend_on_the_number_of_ranks(number, alone):
    done = torchrun(number, HERE / "ranks_cases.py")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == alone.keys()
    for name, bits in alone.items():
        assert found[name] == bits, name


def test_cases_stop_early_where_they_should(alone):
    steps = {name: found.get("steps") for name, found in alone.items()}
    assert 1 < steps["kernel with patience"] < 400
    assert 1 < steps["bmm with patience"] < 400
    assert 1 < steps["validation"] < 60
    assert steps["a callback"] == 11


@pytest.mark.parametrize("engine", ["kernel", "bmm", "vmap", "loop"])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_each_rank_trains_its_members_as_one_rank_does(engine, count):
    if engine == "kernel":
        pytest.importorskip("hunch.kernel").kernel() or pytest.skip("no kernel")

    def trained(ranks):
        net = Ensemble(ranks_cases.wide, 10, seed=0, engine=engine, ranks=ranks)
        x, y = ranks_cases.X, ranks_cases.Y
        fit(net, x, y, steps=12, batch_size=16, target_noise=0.1, progress=False)
        return net

    whole = trained(Ranks())
    parts = [trained(OneOf(None, rank, count)) for rank in range(count)]
    assert [k for part in parts for k in part.member_numbers] == list(range(10))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(torch.cat([part.state_dict()[name] for part in parts]), tensor), name


def test_the_kernel_trains_a_member_as_it_does_among_others():
    """So a divided ensemble is the undivided one to the bit, but for patience."""
    from hunch.kernel import kernel

    if kernel() is None:
        pytest.skip("no kernel")
    nets = [Ensemble(ranks_cases.plain, 10, seed=0, ranks=ranks) for ranks in (None, Ranks())]
    for net in nets:
        fit(net, ranks_cases.X, ranks_cases.Y, steps=30, batch_size=16, progress=False)
    whole, divided = (net.state_dict() for net in nets)
    assert all(torch.equal(whole[name], divided[name]) for name in whole)


def test_shares_are_whole_blocks_and_nobody_is_left_out():
    for number, size in [(64, 4), (20, 3), (9, 8), (1, 1), (100_000, 16)]:
        shares = [Share(OneOf(None, rank, size), number).members for rank in range(size)]
        assert [k for share in shares for k in share] == list(range(number))
        assert max(map(len, shares)) - min(map(len, shares)) <= Share(Ranks(), number).block
    assert [Share(Ranks(), number).block for number in (3, 20, 64, 1_000)] == [1, 2, 8, 64]


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(ConfigurationError, match="at most 5"):
        Share(OneOf(2, 0, 6), 10)
    with pytest.raises(ConfigurationError, match="block"):
        Ranks(block=0)
    with pytest.raises(ConfigurationError, match="`seed` got None"):
        Ensemble(ranks_cases.plain, 10, ranks=OneOf(None, 1, 2))
    net = Ensemble(ranks_cases.plain, 10, seed=0, ranks=Ranks())
    with pytest.raises(ConfigurationError, match="divided already"):
        net.divided(Ranks())
    with pytest.raises(ConfigurationError, match="gathered"):
        save(net, "a-folder")
    with pytest.raises(ConfigurationError, match="gathered"):
        PredictiveModule(net)
    with pytest.raises(ConfigurationError, match="requires a gradient"):
        predict(net, ranks_cases.X.clone().requires_grad_())
    with pytest.raises(ConfigurationError, match="10 members"):
        fit(net, ranks_cases.X, ranks_cases.Y, lr=[0.1, 0.2], progress=False)
    p = predict(net, ranks_cases.X)
    for call in (p.covariance, p.distribution, p.plot, lambda: p.sample(3)):
        with pytest.raises(ConfigurationError, match="gathered"):
            call()


def test_noise_that_is_not_the_seeds_is_refused():
    from hunch.nn import noise, noisy

    net = Ensemble(lambda: noisy(MLP(3, [9], 1)), 4, seed=0, ranks=Ranks())
    noise(net, "held")
    with pytest.raises(ConfigurationError, match="noisy layer"):
        fit(net, ranks_cases.X, ranks_cases.Y, steps=2, progress=False)


def test_too_few_members_for_the_ranks_are_trained_by_each():
    assert ranks_for(OneOf(None, 2, 4), 3) == Alone(None)
    assert ranks_for(OneOf(None, 2, 4), 4) == OneOf(None, 2, 4)
    assert Share(Alone(), 3).members == range(3)


def test_an_ensemble_is_divided_and_gathered_again():
    net = Ensemble(ranks_cases.dropout, 9, seed=0)
    halves = [net.divided(OneOf(3, rank, 2)) for rank in range(2)]
    assert [half.member_numbers for half in halves] == [range(3), range(3, 9)]
    for name, tensor in net.state_dict().items():
        assert torch.equal(torch.cat([half.state_dict()[name] for half in halves]), tensor)
    own = net.divided(Ranks())
    assert own.gathered() is not own
    assert own.gathered().member_numbers == range(9)
    assert own.part("0").member_numbers == own.member_numbers
    assert net.gathered() is net


def test_what_a_program_without_ranks_does_is_its_own():
    net = Ensemble(ranks_cases.plain, 3, seed=0)
    assert net.member_numbers == range(3)
    assert type(predict(net, ranks_cases.X)) is Predictive


def test_training_by_ranks_leaves_global_chance_alone():
    net = Ensemble(ranks_cases.dropout, 4, seed=0, ranks=Ranks())
    before = torch.get_rng_state()
    fit(net, ranks_cases.X, ranks_cases.Y, steps=3, progress=False)
    assert torch.equal(before, torch.get_rng_state())


# Reductions


def numbers(dtype, members=37):
    g = torch.Generator().manual_seed(1)
    scale = 10.0 ** torch.randint(-12, 12, (members, 5, 2), generator=g, dtype=torch.float64)
    found = torch.randn(members, 5, 2, generator=g, dtype=torch.float64) * scale
    found[:, 0] = 0.0
    found[:, 1] = 1e-40  # below what float32 holds in full
    return found.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sum_is_exact_enough_and_has_no_order(dtype):
    values = numbers(dtype)
    share = Share(Ranks(), len(values))
    found = total(share, lambda rows: values[rows], values[0])
    exact = values.double().sum(0)
    largest = values.double().abs().amax(0)
    assert bool(((found - exact).abs() <= 1e-12 * largest).all())
    for seed in range(5):
        order = torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))
        other = values[order]
        assert torch.equal(total(share, lambda rows, v=other: v[rows], values[0]), found)


def test_a_sum_over_what_is_not_finite_is_none():
    values = torch.tensor([[1.0, torch.inf, torch.nan, 2.0], [1.0, 2.0, 3.0, -2.0]])
    found = total(Share(Ranks(), 2), lambda rows: values[rows], values[0])
    assert found.isnan().tolist() == [False, True, True, False]
    assert found[[0, 3]].tolist() == [2.0, 0.0]


def test_sums_of_extremes_stay_within_range():
    for size in (1e-310, 5e-324, 1.7e308 / 3):
        values = torch.tensor([[size], [size], [-size]], dtype=torch.float64)
        found = total(Share(Ranks(), 3), lambda rows, v=values: v[rows], values[0])
        assert abs(found.item() - size) <= 1e-15 * max(size, 1e-270)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_order_statistics_are_those_of_a_sort(dtype):
    values = numbers(dtype)
    values[3, 2] = values[7, 2]  # ties
    values[:20, 3] = 1.0
    values[0, 4], values[1, 4] = -0.0, 0.0
    expected = values.sort(dim=0).values
    for rank in range(len(values)):
        low, after = ordered(Share(Ranks(), len(values)), values, rank)
        assert torch.equal(low, expected[rank])
        assert torch.equal(after, expected[min(rank + 1, len(values) - 1)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_divided_predictive_says_what_a_whole_one_does(dtype):
    members = torch.randn(20, 7, 2, generator=torch.Generator().manual_seed(0)).to(dtype)
    noise = torch.rand(20, 7, 2, generator=torch.Generator().manual_seed(1)).to(dtype)
    share, close = Share(Ranks(), 20), dict(rtol=1e-5, atol=1e-6)
    for given in (0.0, 0.3, noise):
        whole, divided = Predictive(members, given), DividedPredictive(members, given, share)
        for name in ("mean", "std", "epistemic", "aleatoric"):
            torch.testing.assert_close(getattr(divided, name), getattr(whole, name), **close)
        for q in (0.05, 0.5, 0.93):
            if isinstance(given, float) and not given:
                assert torch.equal(divided.quantile(q), whole.quantile(q))
            torch.testing.assert_close(divided.quantile(q), whole.quantile(q), **close)
        assert torch.equal(divided.gathered().members, members)
        assert "20 of 20 members" in repr(divided)
        with pytest.raises(ConfigurationError, match="probability"):
            divided.quantile(1.0)


def test_a_divided_predictive_of_classes_says_what_a_whole_one_does():
    logits = 20 * torch.randn(20, 7, 3, generator=torch.Generator().manual_seed(0))
    logits[:, 0, 0] = -500.0
    whole, divided = ClassPredictive(logits), DividedClassPredictive(logits, Share(Ranks(), 20))
    for name in ("probs", "log_probs", "entropy", "aleatoric", "epistemic"):
        torch.testing.assert_close(
            getattr(divided, name), getattr(whole, name), rtol=1e-5, atol=1e-6
        )
    assert torch.equal(divided.gathered().logits, logits)
    for call in (divided.plot, lambda: divided.sample(2)):
        with pytest.raises(ConfigurationError, match="gathered"):
            call()


def test_one_member_has_no_spread():
    net = Ensemble(ranks_cases.plain, 1, seed=0, ranks=Ranks())
    assert predict(net, ranks_cases.X).epistemic.abs().max() == 0


def test_ranks_are_of_ensembles_alone():
    with pytest.raises(TypeError):
        Epinet(nn.Linear(3, 1), ranks=Ranks())
    assert RandomizedPrior is not None


# Killed ranks


@pytest.mark.slow
def test_a_killed_rank_changes_nothing(tmp_path):
    """One of four dies after it has written some checkpoints; torchrun starts all again."""
    example = HERE.parents[1] / "examples" / "many_processes.py"
    words = ["--rows=200", "--width=9", "--steps=200", "--patience=90"]
    done = torchrun(1, example, *words, f"--out={tmp_path / 'whole.json'}")
    assert done.returncode == 0, done.stderr
    program = tmp_path / "killed.py"
    program.write_text(KILLED.format(folder=str(example.parent)))
    out, kept = tmp_path / "killed.json", tmp_path / "kept"
    done = torchrun(4, "--max-restarts=2", program, *words, f"--out={out}", f"--checkpoint={kept}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kept" / "died").exists()
    assert out.read_bytes() == (tmp_path / "whole.json").read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import many_processes
from hunch.inference.checkpoint import Checkpoint

write, written = Checkpoint.write, []

def and_die(self, done, *, over):
    write(self, done, over=over)
    written.append(done)
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if first and os.environ["RANK"] == "2" and len(written) == 4:
        (self.folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.write = and_die
many_processes.main()
"""
