"""Members divided among processes: who has which, and what all of them tell each other."""

from __future__ import annotations

import atexit
import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from hunch.errors import ConfigurationError
from hunch.validation import whole_number

Reduction = Literal["sum", "max", "min"]

_PARTS: Final = 8  # blocks that even a small ensemble falls into
_LARGEST: Final = 64  # members of a block


@dataclass(frozen=True)
class Ranks:
    """The processes of this program, as `torchrun` starts them, among which members are divided.

    An `Ensemble` made with `ranks=Ranks()` has in each process only that process's members, and
    `fit` and `predict` know it; an ensemble made without is nobody else's business, however many
    processes there are. In a program that runs as one process there is one rank.

    What is computed has the same bits whatever the number of ranks. So members are kept in blocks
    that are trained and asked apart from each other: in torch's batched matrix products a member's
    last bits depend on how many stand beside it. The blocks depend on the number of members alone.

    Under `torchrun` the processes are joined (`torch.distributed.init_process_group`) unless the
    program has done so: by gloo, and by NCCL for tensors on GPUs. All ranks must be of one kind of
    machine, with the same versions and as many threads, and call what communicates in one order.

    Args:
        block: members in a block, at least 1; another size is another rounding. None: an eighth
            of the ensemble, at most 64. There can be no more ranks than blocks.

    Raises:
        ConfigurationError: if `block` is below 1.

    Example:
        >>> from hunch.nn import MLP, Ensemble
        >>> ranks = Ranks()
        >>> net = Ensemble(lambda: MLP(1, [9], 1), num_members=64, seed=0, ranks=ranks)
        >>> ranks.rank, ranks.size, net.member_numbers
        (0, 1, range(0, 64))
    """

    block: int | None = None

    def __post_init__(self) -> None:
        """Join the other processes, if there are any."""
        if self.block is not None:
            whole_number("block", self.block, at_least=1)
        _join()

    @property
    def rank(self) -> int:
        """The number of this process, from 0 to `size - 1`."""
        distributed = _joined()
        return 0 if distributed is None else int(distributed.get_rank())

    @property
    def size(self) -> int:
        """How many processes there are."""
        distributed = _joined()
        return 1 if distributed is None else int(distributed.get_world_size())

    def agreed(self, number: int) -> int:
        """The first rank's number, below 2⁶³; all ranks must call this.

        Example:
            >>> Ranks().agreed(7)
            7
        """
        distributed = _joined()
        if distributed is None:
            return number
        told = torch.tensor([number], device=_device(torch.device("cpu")))
        distributed.broadcast(told, src=0)
        return int(told)


@dataclass(frozen=True)
class Alone(Ranks):
    """One process that has all members, whatever others do; for too few members to divide.

    Example:
        >>> Share(Alone(), 3).members
        range(0, 3)
    """

    @property
    def rank(self) -> int:
        """The first."""
        return 0

    @property
    def size(self) -> int:
        """Only this one."""
        return 1


def ranks_for(ranks: Ranks, total: int) -> Ranks:
    """The processes that divide so many members, or each of them for itself if they are too few.

    Example:
        >>> ranks_for(Ranks(), 3).size
        1
    """
    blocks = math.ceil(total / Share(Alone(ranks.block), total).block)
    return ranks if ranks.size <= blocks else Alone(ranks.block)


@dataclass(frozen=True)
class Share:
    """One process's part of an ensemble.

    Args:
        ranks: the processes.
        total: members of the whole ensemble.

    Raises:
        ConfigurationError: if there are more ranks than blocks.

    Example:
        >>> Share(Ranks(block=9), 20).blocks
        [range(0, 9), range(9, 18), range(18, 20)]
    """

    ranks: Ranks
    total: int

    def __post_init__(self) -> None:
        """Refuse ranks that would have no members."""
        if self.ranks.size > len(self._edges) - 1:
            raise ConfigurationError(
                f"`ranks` are {self.ranks.size} processes for {self.total} members in blocks of "
                f"{self.block}; expected at most {len(self._edges) - 1}, or a smaller "
                "`Ranks(block=…)`."
            )

    @property
    def block(self) -> int:
        """Members in a block; the last one may have fewer."""
        return self.ranks.block or min(max(self.total // _PARTS, 1), _LARGEST)

    @property
    def members(self) -> range:
        """The members of this process."""
        return self.members_of(self.ranks.rank)

    def members_of(self, rank: int) -> range:
        """The members of a process."""
        count, size = len(self._edges) - 1, self.ranks.size
        first, last = (count * part // size for part in (rank, rank + 1))
        return range(self._edges[first], self._edges[last])

    @property
    def blocks(self) -> list[range]:
        """The blocks of this process, which have all its members."""
        own, edges = self.members, self._edges
        return [range(a, b) for a, b in itertools.pairwise(edges) if own.start <= a < own.stop]

    @property
    def _edges(self) -> Sequence[int]:
        return [*range(0, self.total, self.block), self.total]

    def reduced(self, values: Tensor, how: Reduction) -> Tensor:
        """The sum, the largest or the smallest of what each rank has, entry by entry.

        A sum is of integers, so that the order does not matter. All ranks must call this.

        Args:
            values: of one shape and type on all ranks.
            how: which.

        Example:
            >>> Share(Ranks(), 8).reduced(torch.tensor([1, 2]), "sum")
            tensor([1, 2])
        """
        distributed = _joined()
        if distributed is None or self.ranks.size == 1:
            return values
        if how == "sum" and values.is_floating_point():
            raise TypeError("a sum of floats depends on its order")
        operation = getattr(distributed.ReduceOp, how.upper())
        moved = values.to(_device(values.device)).contiguous()
        moved = moved.clone() if moved is values else moved
        distributed.all_reduce(moved, op=operation)
        return moved.to(values.device)

    def gathered(self, values: Tensor) -> Tensor:
        """What each rank has of its members, of all members; all ranks must call this.

        Args:
            values: `(members of this process, …)`.

        Returns:
            `(total, …)`.

        Example:
            >>> Share(Ranks(), 2).gathered(torch.tensor([1.0, 2.0]))
            tensor([1., 2.])
        """
        distributed = _joined()
        if distributed is None or self.ranks.size == 1:
            return values
        sizes = [len(self.members_of(rank)) for rank in range(self.ranks.size)]
        # Bytes, for which each backend has a type; shorter parts are filled up to the longest.
        rows = values.contiguous().reshape(len(values), -1).view(torch.uint8)
        sent = rows.new_zeros(max(sizes), rows.shape[1], device=_device(values.device))
        sent[: len(rows)] = rows
        found = [torch.empty_like(sent) for _ in sizes]
        distributed.all_gather(found, sent)
        whole = torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])
        return whole.to(values.device).view(values.dtype).reshape(-1, *values.shape[1:])


def _joined() -> Any:
    """`torch.distributed`, if processes are joined; else None."""
    import torch.distributed as distributed

    return distributed if distributed.is_available() and distributed.is_initialized() else None


def _join() -> None:
    import torch.distributed as torchs

    distributed: Any = torchs  # not all of its names are exported to type checkers
    if not distributed.is_available() or distributed.is_initialized():
        return
    if not distributed.is_torchelastic_launched():
        return
    gpus = torch.cuda.is_available() and distributed.is_nccl_available()
    backend, said = "cpu:gloo,cuda:nccl" if gpus else "gloo", os.environ
    if said.get("GROUP_WORLD_SIZE") != "1" or said.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        distributed.init_process_group(backend)
        atexit.register(_leave)
        return
    # After a restart torchrun's store still has the addresses of processes that are dead, for which
    # the new ones would wait half an hour. Machines count restarts each for itself: with several of
    # them nothing but TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 helps.
    size, rank = int(said["WORLD_SIZE"]), int(said["RANK"])
    place = said["MASTER_ADDR"], int(said["MASTER_PORT"])
    store = distributed.TCPStore(*place, world_size=size, is_master=False)
    fresh = distributed.PrefixStore(f"hunch-{said.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    distributed.init_process_group(backend, store=fresh, rank=rank, world_size=size)
    atexit.register(_leave)


def _leave() -> None:
    """End what was joined here: gloo's threads may abort a process that ends before them."""
    import torch.distributed as torchs

    distributed: Any = torchs
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _device(wanted: torch.device) -> torch.device:
    """Where the processes' backend takes what lies on a device."""
    distributed = _joined()
    kinds = {} if distributed is None else _backends(distributed)
    if wanted.type in kinds or not kinds:
        return wanted
    return torch.device(next(iter(kinds)))


def _backends(distributed: Any) -> dict[str, str]:
    """The backend of each kind of device, such as `{"cpu": "gloo"}`."""
    config = str(distributed.get_backend_config())
    kinds = dict(part.split(":") for part in config.split(",") if ":" in part)
    # gloo takes tensors of GPUs for some operations only.
    return {kind: name for kind, name in kinds.items() if name != "gloo" or kind == "cpu"}
