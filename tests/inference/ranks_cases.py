"""Fits and predictions whose bits must not depend on the number of processes.

As a program it prints them, `torchrun` or not; `test_ranks.py` asks for them within its process.
"""

import atexit
import hashlib
import json
import os
import sys
from unittest import mock

import numpy as np
import torch
from torch import nn

from hunch.inference import fit, predict
from hunch.nn import MLP, Ensemble, GaussianHead, RandomizedPrior, Ranks, noisy

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
Y = X.sin().sum(1, keepdim=True)
IDS = torch.arange(60)
LOADER = [(X[i : i + 20], Y[i : i + 20], IDS[i : i + 20]) for i in range(0, 60, 20)]
K = 20


def plain():
    return RandomizedPrior(MLP(3, [9], 1), prior=MLP(3, [9], 1))


def wide():
    """Of a width at which torch's last bits depend on how many members there are."""
    return MLP(3, [50, 50], 1, activation="silu")


def dropout():
    return nn.Sequential(nn.Linear(3, 9), nn.Dropout(0.3), nn.BatchNorm1d(9), nn.Linear(9, 1))


def falling(optimizer):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)


FEW = dict(steps=30)
CASES = {
    "kernel": (plain, dict(batch_size=16, target_noise=0.1, ridge=0.1, steps=30)),
    "kernel with patience": (plain, dict(batch_size=16, patience=3, lr=0.05, steps=400)),
    "bmm with patience": (wide, dict(batch_size=16, patience=3, lr=0.05, steps=400, engine="bmm")),
    "vmap": (wide, dict(FEW, bootstrap="poisson", max_gradient_norm=1.0, engine="vmap")),
    "loop": (plain, dict(FEW, redraw=True, batch_size=32, engine="loop")),
    "validation": (
        plain,
        dict(validation=(X[:20], -Y[:20]), patience=2, lr=0.1, steps=60, batch_size=30),
    ),
    "one number a member": (
        plain,
        dict(FEW, lr=[0.001 * (k + 1) for k in range(K)], ridge=[0.1 * k for k in range(K)]),
    ),
    "dropout and batch norm": (dropout, FEW),
    "noisy": (lambda: noisy(MLP(3, [9], 1)), FEW),
    "an optimizer": (
        plain,
        dict(FEW, optimizer=lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9), schedule=falling),
    ),
    "a head": (
        lambda: GaussianHead(MLP(3, [9], 1), MLP(3, [9], 1)),
        dict(FEW, loss="gaussian_nll"),
    ),
    "a loader": (plain, dict(data=LOADER, validation=[(X, -Y)], patience=2, lr=0.1, steps=60)),
    "a callback": (plain, dict(steps=30, callback=lambda step, losses: step == 11)),
    "classes": (lambda: MLP(3, [9], 4), dict(FEW, loss="cross_entropy")),
}


def digest(*tensors):
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(torch.as_tensor(tensor).detach().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def bits(name, ranks):
    """What a case comes to: of parameters, losses and predictions."""
    make, options = CASES[name]
    options = dict(options)
    net = Ensemble(make, K, seed=0, ranks=ranks, engine=options.pop("engine", "auto"))
    classes = options.get("loss") == "cross_entropy"
    data = options.pop("data", None)
    given = (X, (Y[:, 0] > 0).long() if classes else Y) if data is None else (data,)
    history = fit(net, *given, progress=False, seed=3, **options)
    p = predict(net, X, classes=classes)
    said = [p.probs, p.epistemic] if classes else [p.mean, p.std, *p.interval(0.8)]
    losses = net._gathered_rows(history.loss.T.contiguous())
    state = net.gathered().state_dict()
    return {
        "parameters": digest(*state.values()),
        "losses": digest(losses, history.out_of_bag),
        "answers": digest(*said),
        "steps": len(history.loss),
    }


def estimator(ranks):
    """The same of an estimator."""
    from hunch import RandomizedPriorRegressor
    from hunch.sklearn import boosting

    x, y = X.double().numpy(), Y[:, 0].double().numpy()
    with mock.patch.object(boosting, "_SIZES", ((float("inf"), 10, 7),)):
        model = RandomizedPriorRegressor(10, max_iter=10, random_state=0, ranks=ranks).fit(x, y)
    drawn = RandomizedPriorRegressor(2, max_iter=1, boosting=False, ranks=ranks).fit(x, y)
    json.dumps(model.to_state()[1])
    mean, std = model.predict(x, return_std=True)
    everywhere = np.asarray([drawn.predict(x[:1])])
    agreed = 0.0 if ranks.size == 1 else float(np.ptp(_of_all(everywhere)))
    return {"answers": digest(mean, std), "score": model.oob_score_, "apart": agreed}


def _of_all(values):
    from torch import distributed

    found = [torch.empty(1, 1, dtype=torch.float64) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, torch.from_numpy(values))
    return torch.cat(found).numpy()


def all_bits(ranks):
    return {name: bits(name, ranks) for name in CASES} | {"estimator": estimator(ranks)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = all_bits(Ranks())
    if Ranks().rank == 0:
        json.dump(found, sys.stdout)
        sys.stdout.flush()
    if Ranks().size > 1:
        atexit._run_exitfuncs()  # hunch's farewell to the others
        os._exit(0)  # a thread of gloo's that outlives it aborts a process now and then
