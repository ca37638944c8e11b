"""How the members of an ensemble are run: all at once, one after another, or some at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrize import is_parametrized
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from hunch.errors import ConfigurationError
from hunch.nn.batched import is_hooked, run_batched
from hunch.nn.borrowing import Attributes, Places, call_with, check_replaced
from hunch.nn.noisy_base import Draw, DrawingLayer

Engine = Literal["auto", "bmm", "vmap", "loop", "kernel"]
Outcome = tuple[Any, dict[str, Tensor]]

# What vmap has no rule for, or none that is both fast and right in every mode.
_LOOP_ONLY = (
    nn.RNNBase,
    nn.RNNCellBase,
    # In eval mode these two take a fused kernel that cannot be differentiated inside vmap.
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
    nn.EmbeddingBag,
    nn.Bilinear,
)
# On a CPU a grouped convolution over members is slower than one convolution a member.
_LOOP_ON_CPU = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def wants_loop(skeleton: nn.Module) -> bool:
    """Whether members are better run one after another."""
    return any(
        isinstance(module, _LOOP_ONLY)
        or is_hooked(module)
        or is_parametrized(module)
        or (isinstance(module, _LOOP_ON_CPU) and module.weight.device.type == "cpu")
        for module in skeleton.modules()
    )


@dataclass(frozen=True)
class Pass:
    """One forward of some members.

    Args:
        skeleton: one member, whose own tensors are not used.
        places: where its tensors stand.
        noisy: its noisy layers.
        foreign: its parts whose forward may set attributes.
        tensors: parameters and buffers by name, each `(members, …)`.
        draws: noise by the position of its layer in `noisy`, each `(members, …)`.
        given: the inputs and keyword inputs.
        per_member: whether the tensors in `given` are `(members, …)` too.
    """

    skeleton: nn.Module
    places: Places
    noisy: list[DrawingLayer]
    foreign: list[nn.Module]
    tensors: dict[str, Tensor]
    draws: dict[int, Draw]
    given: tuple[tuple[Any, ...], dict[str, Any]]
    per_member: bool

    def run(self, engine: Engine, num_members: int, chunk_size: int | None) -> Outcome:
        """Run the members.

        Args:
            engine: not `"auto"`.
            num_members: how many there are.
            chunk_size: how many are run at once; all if None.

        Returns:
            `(members, batch, *out)`, or the members' structure of such tensors; and the buffers to
            which members gave another tensor, `(members, …)`.
        """
        if parametrize._cache_enabled and any(map(is_parametrized, self.skeleton.modules())):
            raise ConfigurationError(
                "`torch.nn.utils.parametrize.cached` keeps one weight for all members; expected a "
                "call outside of it."
            )
        # Under compilation there is no Python state to keep: what is traced is run once.
        compiling = torch.compiler.is_compiling()
        attributes = Attributes([] if compiling else self.foreign)
        whole = engine == "vmap" and chunk_size is None
        shared = [] if compiling or whole or self.per_member else versions(self.given)
        parts: list[tuple[Pass, Outcome]] = []
        for turn in self._turns(engine, num_members, chunk_size):
            if parts and any(tensor._version != version for tensor, version in shared):
                raise ConfigurationError(
                    "a member's forward changes its input in place, which the next member would "
                    "see; expected a new tensor, such as `x = x + 1` or `inplace=False`."
                )
            try:
                parts.append((turn, turn._at_once(engine)))
            finally:
                attributes.take_back()
        attributes.settle()
        if engine == "loop":
            return _join(torch.stack, parts)
        return parts[0][1] if len(parts) == 1 else _join(torch.cat, parts)

    def _turns(self, engine: Engine, num_members: int, chunk_size: int | None) -> Iterator[Pass]:
        """The passes of those that are run at once, one after another."""
        if engine == "loop":
            yield from map(self._of, range(num_members))
        elif chunk_size is None or chunk_size >= num_members:
            yield self
        else:
            for start in range(0, num_members, chunk_size):
                yield self._of(slice(start, min(start + chunk_size, num_members)))

    def _of(self, chosen: int | slice) -> Pass:
        """The pass of one member, without its axis, or of several."""

        def choose(t: Any) -> Any:
            return t[chosen] if isinstance(t, Tensor) else t

        return dataclasses.replace(
            self,
            tensors={name: t[chosen] for name, t in self.tensors.items()},
            draws=tree_map(choose, self.draws),
            given=tree_map(choose, self.given) if self.per_member else self.given,
        )

    def _at_once(self, engine: Engine) -> Outcome:
        if engine == "loop":
            return self._call(self.skeleton, self.tensors, self.draws, self.given)
        if engine == "vmap":
            return self._mapped()
        (x,), _ = self.given
        members = next(iter(self.tensors.values())).shape[0]
        each = x if self.per_member else x.expand(members, *x.shape)
        batched = partial(run_batched, self.skeleton)
        return self._call(batched, self.tensors, self.draws, ((each,), {}))

    def _mapped(self) -> Outcome:
        axis = tree_map(lambda t: 0 if isinstance(t, Tensor) else None, self.given)
        in_dims = (0 if self.tensors else None, 0 if self.draws else None)
        rest: list[Any] = []

        def one(tensors: dict[str, Tensor], draws: dict[int, Draw], given: Any) -> list[Tensor]:
            # vmap takes tensors alone; what else a member returns is the same for all.
            output, changed = self._call(self.skeleton, tensors, draws, given)
            leaves, structure = tree_flatten(output)
            fixed = [None if isinstance(t, Tensor) else (t,) for t in leaves]
            rest[:] = [structure, fixed, list(changed)]
            return [*(t for t in leaves if isinstance(t, Tensor)), *changed.values()]

        every = torch.vmap(
            one, in_dims=(*in_dims, axis if self.per_member else None), randomness="different"
        )
        try:
            outputs = iter(every(self.tensors, self.draws, self.given))
        except RuntimeError as error:
            if "atching rule" not in str(error) and "vmap" not in str(error):
                raise
            raise ConfigurationError(
                f"`engine='vmap'` cannot run these members: {str(error).splitlines()[0]} "
                "expected engine='loop'."
            ) from error
        structure, fixed, names = rest
        output = tree_unflatten([next(outputs) if f is None else f[0] for f in fixed], structure)
        # What is the same for all members comes back as one value seen many times over.
        return output, {name: next(outputs).contiguous() for name in names}

    def _call(
        self,
        run: Callable[..., Any],
        tensors: dict[str, Tensor],
        draws: dict[int, Draw],
        given: Any,
    ) -> Outcome:
        args, kwargs = given
        with ExitStack() as stack:
            for i, draw in draws.items():
                stack.enter_context(self.noisy[i].using(draw))
            output, changed = call_with(self.places, tensors, lambda: run(*args, **kwargs))
        for name, tensor in changed.items():
            check_replaced(name, tensors[name], tensor)
        return output, changed


def versions(given: Any) -> list[tuple[Tensor, int]]:
    """How often each input was changed in place so far."""
    leaves = [t for t in tree_leaves(given) if isinstance(t, Tensor) and not t.is_inference()]
    return [(t, t._version) for t in leaves]


def _join(how: Callable[[list[Tensor]], Tensor], parts: list[tuple[Pass, Outcome]]) -> Outcome:
    """Outcomes of several members as one; an output that is no tensor is taken from the first."""

    def join(*leaves: Any) -> Any:
        return how(list(leaves)) if isinstance(leaves[0], Tensor) else leaves[0]

    outputs = tree_map(join, *(output for _, (output, _) in parts))
    names = dict.fromkeys(name for _, (_, changed) in parts for name in changed)
    # A member that kept its buffer while others did not goes on with what it had.
    buffers = {
        name: how([changed.get(name, one.tensors[name]) for one, (_, changed) in parts])
        for name in names
    }
    return outputs, buffers
