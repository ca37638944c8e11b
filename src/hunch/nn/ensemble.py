"""K networks as one module: tensors stacked on a leading member axis, all members run at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from hunch.errors import ConfigurationError, ShapeError
from hunch.nn.batched import has_rules, run_batched
from hunch.nn.borrowing import (
    check_kept,
    check_stacked,
    places_of,
    tensors_of,
    written_by_users,
)
from hunch.nn.engines import Engine, Outcome, Pass, versions, wants_loop
from hunch.nn.noisy_base import DrawingLayer
from hunch.nn.ranks import Ranks, Share
from hunch.nn.stacking import apply_to_members, check_copyable, check_stackable, stack, stand_in
from hunch.seeding import check_seed, default_generator_seeded
from hunch.shown import card
from hunch.validation import whole_number


class Ensemble(nn.Module):
    """K networks of one architecture as a single module with a leading member axis.

    Parameters and buffers keep the members' own names and gain a first axis of length K, so one
    optimizer trains all members at once; a loss that is a sum over members gives each member the
    gradient it would have alone.

    Args:
        factory: a function without arguments that builds one member. It is called K times, and
            each call must draw other initial values. Or the members themselves, trained or not: a
            list of modules of one structure, whose tensors are copied and whose mode is kept.
        num_members: K, at least 1; None for a list, which says it.
        seed: decides the initial values; member k depends on the seed and k alone, so a larger
            ensemble begins with the members of a smaller one. With None the factory draws from
            torch's default generator.
        engine: how members are run. `"bmm"`: all at once, one batched matrix product a layer, for
            members made of linear layers, activations and the priors here. `"vmap"`: all at once,
            for nearly everything else. `"loop"`: one after another. `"auto"` takes the first that
            works, found out in the first forward of each mode, but the loop for members with hooks
            and for convolutions on a CPU, where it is faster. `"kernel"`: as `"auto"`, but
            `hunch.inference.fit` trains by the compiled kernel or says what forbids it; `"auto"`
            takes the kernel where it can and is faster.
        chunk_size: how many members are run at once; all if None. Fewer need less memory where no
            gradient is asked for; the loop runs one at a time in any case.
        ranks: the processes among which members are divided; this one keeps its own, which are
            then what `num_members`, `member` and the outputs here are about. None keeps all.

    Shape:
        `x (batch, …)` shared by all members, or `(members, batch, …)` with `per_member=True`; the
        output is `(members, batch, *out)`. Members with several outputs return the same structure
        of stacked tensors.

    Raises:
        ConfigurationError: if there is no member, a single module stands in place of the factory,
            or members are equal or differ in anything but their parameters and buffers, private
            attributes and hooks included; when called, if a forward leaves behind what members
            cannot keep apart.

    Example:
        >>> import torch
        >>> from hunch.nn import MLP
        >>> net = Ensemble(lambda: MLP(1, [20, 20], 1), num_members=50, seed=0)
        >>> net(torch.zeros(7, 1)).shape, net(torch.zeros(50, 7, 1), per_member=True).shape
        (torch.Size([50, 7, 1]), torch.Size([50, 7, 1]))
        >>> net.get_parameter("0.weight").shape
        torch.Size([50, 20, 1])
        >>> Ensemble([nn.Linear(2, 1), nn.Linear(2, 1)])(torch.zeros(7, 2)).shape
        torch.Size([2, 7, 1])
    """

    skeleton: nn.Module
    num_members: int
    engine: Engine
    chunk_size: int | None
    _share: Share | None = None

    def __init__(
        self,
        factory: Callable[[], nn.Module] | Iterable[nn.Module],
        num_members: int | None = None,
        *,
        seed: int | None = None,
        engine: Engine = "auto",
        chunk_size: int | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__()
        listed = isinstance(factory, nn.ModuleList) or not callable(factory)
        if isinstance(factory, Iterable) and listed:
            members = _given(factory, num_members, seed)
            share = None if ranks is None else Share(ranks, len(members))
            members = members if share is None else [members[k] for k in share.members]
        else:
            number = _number_of(factory, num_members)
            share = None if ranks is None else Share(ranks, number)
            members = _built(factory, range(number) if share is None else share.members, seed)
        self._adopt(stack(members), len(members), engine, chunk_size)
        self._share = share

    @classmethod
    def from_modules(
        cls,
        modules: Sequence[nn.Module],
        *,
        engine: Engine = "auto",
        chunk_size: int | None = None,
    ) -> Ensemble:
        """The same as `Ensemble(modules)`.

        Args:
            modules: at least one module; all of the same architecture.
            engine: as in the constructor.
            chunk_size: as in the constructor.

        Example:
            >>> net = Ensemble.from_modules([nn.Linear(2, 1), nn.Linear(2, 1)])
            >>> net.num_members
            2
        """
        members = _given(modules, None, None)
        return cls._around(stack(members), len(members), engine, chunk_size)

    @classmethod
    def from_state_dict(
        cls,
        module: nn.Module,
        state_dict: Mapping[str, Tensor],
        *,
        engine: Engine = "auto",
        chunk_size: int | None = None,
    ) -> Ensemble:
        """Build an ensemble from stacked tensors, as `state_dict()` of another ensemble gives them.

        No member is built, so ten thousand small members cost no more than one large one.

        Args:
            module: a module of the members' architecture; its own values do not matter.
            state_dict: for each name in the module's `state_dict()` a tensor `(members, *shape)`,
                all of one number of members; it is copied.
            engine: as in the constructor.
            chunk_size: as in the constructor.

        Raises:
            ConfigurationError: if names or shapes do not fit the module.

        Example:
            >>> import torch
            >>> module = nn.Linear(2, 1, bias=False)
            >>> net = Ensemble.from_state_dict(module, {"weight": torch.randn(500, 1, 2)})
            >>> net(torch.ones(3, 2)).shape
            torch.Size([500, 3, 1])
        """
        check_stackable(module, tensors_of(module))
        check_copyable(module)
        own = module.state_dict(keep_vars=True)
        if own.keys() != state_dict.keys():
            raise ConfigurationError(
                f"`state_dict` has the names {sorted(state_dict)}; expected {sorted(own)}."
            )
        sizes = {t.shape[0] if t.ndim else 0 for t in state_dict.values()}
        for name, tensor in state_dict.items():
            if len(sizes) != 1 or tensor.shape[1:] != own[name].shape:
                raise ConfigurationError(
                    f"`state_dict[{name!r}]` has shape {tuple(tensor.shape)}; expected (members, "
                    f"{', '.join(map(str, own[name].shape))}), with as many members in every entry."
                )
        num_members = sizes.pop()
        given = {id(t): state_dict[name].detach().to(t).clone() for name, t in own.items()}
        # What no checkpoint holds, buffers that are not persistent, all members have alike.
        tensors = {
            name: given.get(id(t), t.detach().repeat(num_members, *[1] * t.ndim))
            for name, t in tensors_of(module).items()
        }
        return cls._around(stand_in(module, tensors), num_members, engine, chunk_size)

    @classmethod
    def _around(
        cls, skeleton: nn.Module, num_members: int, engine: Engine, chunk_size: int | None
    ) -> Ensemble:
        ensemble = cls.__new__(cls)
        nn.Module.__init__(ensemble)
        ensemble._adopt(skeleton, num_members, engine, chunk_size)
        return ensemble

    def _adopt(
        self, skeleton: nn.Module, num_members: int, engine: Engine, chunk_size: int | None
    ) -> None:
        """Become the owner of the skeleton's tensors, under the skeleton's own names.

        The skeleton is one member whose tensors carry the member axis. Sharing its dictionaries
        makes `parameters()`, `state_dict()` and `.to()` see them without a prefix; it is kept
        outside `_modules` so that nothing is listed twice.
        """
        if engine not in get_args(Engine):
            raise ConfigurationError(
                f"`engine` got {engine!r}; expected one of {', '.join(get_args(Engine))}."
            )
        if chunk_size is not None and chunk_size < 1:
            raise ConfigurationError(
                f"`chunk_size` got {chunk_size}; expected at least 1, or None."
            )
        own = self.__dict__
        own["skeleton"] = skeleton
        own["_parameters"] = skeleton._parameters
        own["_buffers"] = skeleton._buffers
        own["_modules"] = skeleton._modules
        own["_non_persistent_buffers_set"] = skeleton._non_persistent_buffers_set
        self.training = skeleton.training
        self.num_members = num_members
        self.engine = engine
        self.chunk_size = chunk_size
        self._loops = False  # whether "auto" has found that nothing else works
        self._mapped: set[bool] = set()  # the modes in which it has found that vmap does
        self._foreign = written_by_users(skeleton)
        self._noisy = [m for m in skeleton.modules() if isinstance(m, DrawingLayer)]
        for layer in self._noisy:
            layer.stand_for_members(num_members)

    def forward(self, *inputs: Any, per_member: bool = False, **kwargs: Any) -> Any:
        """Run every member.

        Args:
            inputs: what one member takes; tensors `(batch, …)` go to all members.
            per_member: if True every input tensor is `(members, batch, …)`, one slice a member.
            kwargs: keyword inputs of a member, treated alike.

        Returns:
            `(members, batch, *out)`, or the members' structure of such tensors.
        """
        if per_member:
            self._check_member_axis((inputs, kwargs))
        engine = self._choose_engine(inputs, kwargs)
        if engine == "bmm" and self.chunk_size is None:  # nothing to take apart: the fast path
            (x,) = inputs
            return run_batched(
                self.skeleton, x if per_member else x.expand(self.num_members, *x.shape)
            )
        skeleton = self.skeleton
        places = places_of(skeleton)
        tensors = {name: store[key] for name, (store, key) in places.items()}
        if not tensors and not per_member:  # a fixed function: one call serves all members
            once = skeleton(*inputs, **kwargs)
            return tree_map(lambda t: t.expand(self.num_members, *t.shape), once)
        check_stacked(tensors, self.num_members)
        # Noise that a member's whole batch shares is drawn here, once for all members.
        drawn = enumerate([layer.draw_for_members() for layer in self._noisy])
        draws = {i: draw for i, draw in drawn if draw is not None}
        given = (inputs, kwargs)
        outputs, changed = self._run(
            Pass(skeleton, places, self._noisy, self._foreign, tensors, draws, given, per_member),
            engine,
        )
        if changed:
            check_kept(places, changed)
            for name, tensor in changed.items():
                store, key = places[name]
                store[key] = tensor
        return outputs

    def _run(self, this: Pass, engine: Engine) -> Outcome:
        """Run the members; `"auto"` takes the loop if a first forward finds no other way."""
        known = (
            self.engine not in ("auto", "kernel")
            or engine != "vmap"
            or self.training in self._mapped
        )
        if known or torch.compiler.is_compiling():
            return this.run(engine, self.num_members, self.chunk_size)
        before = {n: t.clone() for n, t in this.tensors.items() if not isinstance(t, nn.Parameter)}
        inputs = versions(this.given)
        try:
            outcome = this.run("vmap", self.num_members, self.chunk_size)
        except Exception:
            if any(tensor._version != version for tensor, version in inputs):
                raise  # nothing can be tried again
        else:
            self._mapped.add(self.training)
            return outcome
        # Whatever it was, the loop knows: either it works there, or it fails in torch's words.
        with torch.no_grad():
            for name, tensor in before.items():
                this.tensors[name].copy_(tensor)
        outcome = this.run("loop", self.num_members, None)
        self._loops = True
        return outcome

    def member(self, k: int) -> nn.Module:
        """A stand-alone module equal to member `k`, with tensors of its own.

        Args:
            k: from 0 to `num_members - 1`; negative values count from the end.

        Raises:
            ConfigurationError: if there is no such member.

        Example:
            >>> import torch
            >>> net = Ensemble(lambda: nn.Linear(2, 1), num_members=3, seed=0)
            >>> x = torch.ones(4, 2)
            >>> torch.allclose(net.member(1)(x), net(x)[1])
            True
        """
        if not -self.num_members <= k < self.num_members:
            raise ConfigurationError(f"`k` got {k}; the ensemble has {self.num_members} members.")
        # The copy is made of slices: copying the skeleton would copy all members first.
        slices = {name: t.detach()[k].clone() for name, t in tensors_of(self.skeleton).items()}
        member = stand_in(self.skeleton, slices)
        for part in member.modules():
            if isinstance(part, DrawingLayer):
                held = part._held and tuple(t[k].clone() for t in part._held)
                part.stand_for_members(None)
                part._held = held
        return member

    def part(self, name: str) -> Ensemble:
        """The ensemble of one submodule of every member, sharing its tensors with this one.

        Args:
            name: the submodule's dotted name within a member, such as `"prior"`.

        Raises:
            ConfigurationError: if members have no such submodule.

        Example:
            >>> import torch
            >>> from hunch.nn import MLP, RandomizedPrior
            >>> net = Ensemble(lambda: RandomizedPrior(MLP(1, [], 1), MLP(1, [9], 1)), 5, seed=0)
            >>> net.part("prior")(torch.zeros(7, 1)).shape
            torch.Size([5, 7, 1])
        """
        try:
            part = self.skeleton.get_submodule(name)
        except AttributeError:
            children = ", ".join(repr(n) for n, _ in self.skeleton.named_children()) or "none"
            raise ConfigurationError(
                f"`name` got {name!r}; a member's submodules are: {children}."
            ) from None
        found = Ensemble._around(part, self.num_members, self.engine, self.chunk_size)
        found._share = self._share
        return found

    @property
    def member_numbers(self) -> range:
        """Which members these are: all, or with `ranks` those of this process.

        Example:
            >>> Ensemble(lambda: nn.Linear(2, 1), num_members=3).member_numbers
            range(0, 3)
        """
        return range(self.num_members) if self._share is None else self._share.members

    def divided(self, ranks: Ranks) -> Ensemble:
        """This process's members of an ensemble that all processes have.

        Args:
            ranks: the processes.

        Returns:
            An ensemble with tensors of its own, as `Ensemble(…, ranks=ranks)` makes one.

        Raises:
            ConfigurationError: if it is divided already.

        Example:
            >>> from hunch.nn import Ranks
            >>> net = Ensemble(lambda: nn.Linear(2, 1), num_members=3).divided(Ranks())
            >>> net.member_numbers
            range(0, 3)
        """
        if self._share is not None:
            raise ConfigurationError("the ensemble is divided already; expected a whole one.")
        share = Share(ranks, self.num_members)
        found = self._slice(share.members)
        found._share = share
        return found

    def _blocks(self) -> Iterator[tuple[range, Ensemble]]:
        """Members that are trained and asked apart from others.

        Yields:
            Of each block which members it has, and an ensemble of them with tensors of its own; a
            whole ensemble is its only block.

        Example:
            >>> from hunch.nn import Ranks
            >>> net = Ensemble(lambda: nn.Linear(2, 1), num_members=3, ranks=Ranks(block=2))
            >>> [numbers for numbers, _ in net._blocks()]
            [range(0, 2), range(2, 3)]
        """
        if (share := self._share) is None:
            yield range(self.num_members), self
            return
        for block in share.blocks:
            # Copies: where a tensor begins in memory may decide last bits of a matrix product.
            yield block, self._slice(block)

    def _take_over(self, numbers: range, block: Ensemble) -> None:
        """Take over what a block has become.

        Args:
            numbers: its members.
            block: as `_blocks` gave it.

        Example:
            >>> from hunch.nn import Ranks
            >>> net = Ensemble(lambda: nn.Linear(2, 1), num_members=3, ranks=Ranks(block=2))
            >>> (numbers, block), _ = net._blocks()
            >>> _ = nn.init.zeros_(block.get_parameter("bias"))
            >>> net._take_over(numbers, block)
            >>> net.get_parameter("bias")[:2].flatten().tolist()
            [0.0, 0.0]
        """
        if block is self:
            return
        first, changed = self.member_numbers.start, tensors_of(block.skeleton)
        with torch.no_grad():
            for name, tensor in tensors_of(self.skeleton).items():
                tensor[numbers.start - first : numbers.stop - first].copy_(changed[name])

    def _slice(self, numbers: range) -> Ensemble:
        """Some of the members, with tensors of their own."""
        first = self.member_numbers.start
        own = {
            name: t.detach()[numbers.start - first : numbers.stop - first].clone()
            for name, t in tensors_of(self.skeleton).items()
        }
        skeleton = stand_in(self.skeleton, own)
        return Ensemble._around(skeleton, len(numbers), self.engine, self.chunk_size)

    def gathered(self) -> Ensemble:
        """All members in each process, for what asks for an ensemble that is not divided.

        All ranks must call this, and have room for it.

        Returns:
            An ensemble with tensors of its own; this one itself if it is not divided.

        Example:
            >>> from hunch.nn import Ranks
            >>> net = Ensemble(lambda: nn.Linear(2, 1), num_members=3, ranks=Ranks())
            >>> net.gathered().member_numbers
            range(0, 3)
        """
        if (share := self._share) is None:
            return self
        with torch.no_grad():
            whole = {n: share.gathered(t.detach()) for n, t in tensors_of(self.skeleton).items()}
            skeleton = stand_in(self.skeleton, {name: t.clone() for name, t in whole.items()})
        return Ensemble._around(skeleton, share.total, self.engine, self.chunk_size)

    def _gathered_rows(self, values: Tensor) -> Tensor:
        """Values of all members, given those of this process's; all ranks must call this.

        Args:
            values: `(members, …)`, one of each member.

        Example:
            >>> import torch
            >>> Ensemble(lambda: nn.Linear(2, 1), num_members=2)._gathered_rows(torch.ones(2))
            tensor([1., 1.])
        """
        return values if self._share is None else self._share.gathered(values)

    # Mode, moves and checkpoints go to the skeleton, which may have its own way of doing them.

    def train(self, mode: bool = True) -> Ensemble:
        """Set the mode of all members."""
        self.training = mode
        self.skeleton.train(mode)
        return self

    def apply(self, fn: Callable[[nn.Module], None]) -> Ensemble:
        """As `torch.nn.Module.apply`, for each member: `fn` sees its parts with its own tensors.

        So a rule that reads shapes, such as `torch.nn.init.xavier_uniform_`, gives each member what
        it would have alone. Whatever else `fn` changes it changes for all members.

        Args:
            fn: takes a module; it is called for every part of a member, the member last.

        Example:
            >>> net = Ensemble(lambda: nn.Linear(2, 1), num_members=3)
            >>> _ = net.apply(lambda part: nn.init.zeros_(part.bias))
            >>> net.get_parameter("bias").flatten().tolist()
            [0.0, 0.0, 0.0]
        """
        apply_to_members(self.skeleton, self.num_members, fn)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Ensemble:
        self.skeleton._apply(fn, recurse)
        return self

    def _save_to_state_dict(self, *args: Any) -> None:
        self.skeleton._save_to_state_dict(*args)

    def _load_from_state_dict(self, *args: Any) -> None:
        self.skeleton._load_from_state_dict(*args)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """As `torch.nn.Module.named_modules`; a member's own root counts too, under this name."""
        yield from super().named_modules(memo, prefix, remove_duplicate)
        inner = self.skeleton
        yield prefix, inner
        while isinstance(inner, Ensemble):
            inner = inner.skeleton
            yield prefix, inner

    def __repr__(self) -> str:
        body = "\n  ".join(repr(self.skeleton).splitlines())
        return f"Ensemble(\n  num_members={self.num_members}, engine={self.engine!r}\n  {body}\n)"

    def _repr_html_(self) -> str:
        sizes = {True: 0, False: 0}
        for parameter in self.parameters():
            sizes[parameter.requires_grad] += parameter.numel() // self.num_members
        rows = [
            ["engine", self.engine],
            ["parameters of a member", f"{sizes[True]:,} trained, {sizes[False]:,} frozen"],
            ["member", type(self.skeleton).__name__],
            *([name, type(part).__name__] for name, part in self.skeleton.named_children()),
        ]
        return card(f"Ensemble of {self.num_members:,} members", rows)

    def _choose_engine(self, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Engine:
        one_tensor = len(inputs) == 1 and isinstance(inputs[0], Tensor) and not kwargs
        if self.engine in ("auto", "kernel", "bmm") and one_tensor and has_rules(self.skeleton):
            return "bmm"
        if self.engine == "bmm":
            raise ConfigurationError(
                "`engine='bmm'` runs members made of linear layers, activations and hunch's priors "
                "on one tensor; expected such members, or engine='auto'."
            )
        if self.engine not in ("auto", "kernel"):
            return self.engine
        return "loop" if self._loops or wants_loop(self.skeleton) else "vmap"

    def _check_member_axis(self, inputs: Any) -> None:
        for leaf in tree_leaves(inputs):
            if isinstance(leaf, Tensor) and (leaf.ndim == 0 or leaf.shape[0] != self.num_members):
                raise ShapeError(
                    f"`x` got shape {tuple(leaf.shape)} with per_member=True; expected "
                    f"({self.num_members}, batch, …): one slice for each member."
                )


def _number_of(factory: object, num_members: int | None) -> int:
    """How many members a function is to build."""
    if isinstance(factory, nn.Module) or not callable(factory):
        raise ConfigurationError(
            f"`factory` got a {type(factory).__name__}; expected a function that builds one "
            "member, such as `lambda: MLP(1, [20], 1)`, or a list of modules that exist already."
        )
    if num_members is None:
        raise ConfigurationError(
            "`num_members` is missing; expected how many members `factory` is to build."
        )
    return whole_number("num_members", num_members, at_least=1)


def _built(factory: Any, numbers: range, seed: int | None) -> list[nn.Module]:
    """Members as a function makes them, each from random numbers of its own."""
    if seed is not None:
        check_seed(seed)
    elif numbers.start > 0:
        raise ConfigurationError(
            "`seed` got None for members that are divided among processes; expected a number, so "
            "that each process draws its own members."
        )
    members = []
    for k in numbers:
        with default_generator_seeded(seed, "member", k):
            members.append(factory())
    return members


def _given(modules: Iterable[Any], num_members: int | None, seed: int | None) -> list[nn.Module]:
    """Members that exist already."""
    members = list(modules)
    if not members:
        raise ConfigurationError("`factory` got an empty list; expected at least one module.")
    if num_members not in (None, len(members)):
        raise ConfigurationError(
            f"`num_members` got {num_members} with a list of {len(members)} modules; expected "
            "None: the list says it."
        )
    if seed is not None:
        raise ConfigurationError(
            f"`seed` got {seed} with a list of modules, which have their values; expected None."
        )
    first: dict[int, int] = {}
    for k, member in enumerate(members):
        if not isinstance(member, nn.Module):
            raise ConfigurationError(
                f"`factory[{k}]` is a {type(member).__name__}; expected a torch.nn.Module."
            )
        if isinstance(getattr(member, "_orig_mod", None), nn.Module):
            raise ConfigurationError(
                f"`factory[{k}]` is compiled; expected the module itself, `module._orig_mod`: "
                "compile the ensemble instead."
            )
        if first.setdefault(id(member), k) != k:
            raise ConfigurationError(
                f"members {first[id(member)]} and {k} are one and the same module; expected "
                "another one for each member."
            )
    return members
