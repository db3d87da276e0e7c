"""What a step makes a GPU wait for: nothing but one look at loss and gradient, on 128 ranks too.

There is no GPU here and there are no 128 processes. Torch's fake process group has as many ranks as
one says, its fake tensors stand on a GPU that is not there and refuse to be looked at, and a
dispatch mode counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from bsou_dist.engine.make import EngineConfig, make_engine
from bsou_dist.engine.optim.config import OptimConfig
from bsou_dist.engine.processes import Processes
from bsou_dist.engine.step import train_step
from bsou_dist.feed.batch import Batch
from bsou_dist.feed.filled_slots import FilledSlots
from bsou_dist.model.encoder import EncoderConfig, build_encoder
from bsou_dist.model.network import PretrainNetwork, projection_heads
from bsou_dist.objective import fused_tiles
from bsou_dist.objective.batch_objectives import MultitaskContrastive
from bsou_dist.objective.contrastive_plan import make_plan
from bsou_dist.objective.contrastive_positives import TILE_ROWS

RANK, ROWS = 2, 6
TASKS = ["a", "b"]
FRAMES, SIZE_PX = 4, 16

aten = torch.ops.aten
WAITING_OPS = {
    aten._local_scalar_dense.default,  # item(), and whatever asks a tensor for a truth or a number
    aten.nonzero.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.bincount.default,
    aten.masked_select.default,
    aten.repeat_interleave.Tensor,
    aten.equal.default,
}
"""Those of `torch.cuda.set_sync_debug_mode` that a step could come to use."""
WAITING_METHODS = {Tensor.tolist, Tensor.cpu}
"""They leave no trace in the dispatcher where a tensor is on the CPU."""
NO_LAUNCH = {"prim.device", "aten.view", "aten.slice", "aten.select", "aten.unsqueeze"}


class Count(TorchDispatchMode):
    """Counts operations, those that wait, and copies between devices that do."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.waits: list[str] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if op is aten._pin_memory.default:
            return args[0]  # fake tensors cannot be pinned
        name = str(op).rsplit(".", 1)[0]
        if name not in NO_LAUNCH:
            self.launches[name] += 1
        if op in WAITING_OPS or _has_mask(op, args) or _blocks(op, args, kwargs):
            self.waits.append(str(op))
        return op(*args, **kwargs)


class CountMethods(TorchFunctionMode):
    """Adds the `WAITING_METHODS` to what a `Count` counts."""

    def __init__(self, count: Count) -> None:
        self.count = count

    def __torch_function__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if call in WAITING_METHODS:
            self.count.waits.append(call.__name__)
        return call(*args, **(kwargs or {}))


def _has_mask(op: Any, args: tuple[Any, ...]) -> bool:
    """Whether it picks rows by a mask, whose size a GPU must tell."""
    if op not in (aten.index.Tensor, aten.index_put_.default):
        return False
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _blocks(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether it is a copy between a CPU and a GPU that is waited for."""
    if op is aten._to_copy.default:
        wanted = kwargs.get("device") or args[0].device
        return torch.device(wanted).type != args[0].device.type and not kwargs.get("non_blocking")
    if op is aten.copy_.default:
        return args[0].device.type != args[1].device.type and not any(args[2:])
    return False


@contextmanager
def ranks(world: int) -> Iterator[None]:
    dist.init_process_group("fake", rank=RANK, world_size=world, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


def network() -> PretrainNetwork:
    encoder = build_encoder(
        EncoderConfig(name="r3d_small", weights="none", norm="group"),
        frames=FRAMES,
        size_px=SIZE_PX,
    )
    return PretrainNetwork(encoder, projection_heads(TASKS, encoder.dim))


def batch(world: int, device: str, *, planned: bool = True) -> Batch:
    """A batch of which one clip could not be decoded and some labels are missing."""
    labels = np.arange(2 * ROWS * world).reshape(2, -1) % 4 - 1
    subject = np.arange(ROWS * world) // 2
    plan = make_plan(labels, [ROWS] * world, RANK, subject=subject).to(device)
    mine = slice(RANK * ROWS, (RANK + 1) * ROWS)
    there = np.arange(ROWS) != 1
    index = torch.arange(ROWS, device=device)
    of_rank = torch.from_numpy(labels[:, mine].copy()).to(device, non_blocking=True)
    valid = torch.from_numpy(there).to(device, non_blocking=True)
    return Batch(
        clips=torch.ones(ROWS, 1, FRAMES, SIZE_PX, SIZE_PX, device=device),
        slots=valid[:, None],
        valid=valid,
        labels=dict(zip(TASKS, of_rank, strict=True)),
        key=[str(number) for number in range(ROWS)],
        study=index,
        exam=index,
        subject=index // 2,
        sweep=index,
        index=index,
        views=1,
        epoch=0,
        step=0,
        plan=plan if planned else None,
        filled=FilledSlots(there[:, None], device),
    )


OBJECTIVE = MultitaskContrastive(TASKS, temperature=0.1, positives=("same_label", "other_patient"))
BY_LABEL = MultitaskContrastive(TASKS, temperature=0.1)
"""For batches without a plan: the labels that the fake group brings are copies of this rank's."""


def on_a_gpu(world: int) -> Count:
    """Forward through network and loss, and the loss's backward, on tensors that none can read."""
    with ranks(world), FakeTensorMode():
        with torch.device("cuda"):
            net = network()
        with Count() as count:
            data = batch(world, "cuda")
            loss = OBJECTIVE(net(*data.inputs()), data)
            # Autograd's own thread needs a real GPU: the one backward written here runs by itself.
            of_sum = loss.grad_fn.next_functions[0][0]
            with torch.no_grad():
                gradient, *_ = of_sum.apply(torch.ones((), device="cuda"))
    assert gradient.shape == (len(TASKS), ROWS, 256)
    assert gradient.device.type == "cuda"
    return count


def test_nothing_on_a_gpu_is_looked_at_and_128_ranks_launch_what_4_do(monkeypatch):
    monkeypatch.setitem(fused_tiles.FUSED, "cuda", False)
    few, many = on_a_gpu(4), on_a_gpu(128)
    assert few.waits == many.waits == []
    assert few.launches == many.launches
    assert many.launches["c10d._allgather_base_"] == 3  # validity, embeddings, log-sum-exps


def step(world: int, objective: MultitaskContrastive, *, planned: bool = True) -> Count:
    """A whole step on CPU, its optimizer included."""
    with ranks(world):
        torch.manual_seed(0)
        processes = Processes(RANK, world, "cpu")
        optim = OptimConfig(name="sgd", learning_rate=0.1)  # Adam keeps numbers on the CPU
        engine = make_engine(network(), EngineConfig(name="ddp"), optim, processes)
        engine._wrapped.register_comm_hook(None, _average)
        count = Count()
        data = batch(world, "cpu", planned=planned)
        train_step(engine, data, objective, seed=0, rank=RANK)  # allocates what is kept
        with count, CountMethods(count):
            train_step(engine, data, objective, seed=0, rank=RANK)
        engine.close()
    return count


def _average(state, bucket):  # DDP would want annotations that are no strings
    """Stand for what DDP does by default, which the fake group does not know."""
    future: torch.futures.Future[Tensor] = torch.futures.Future()
    dist.all_reduce(bucket.buffer())
    future.set_result(bucket.buffer())
    return future


def test_a_step_waits_once_and_128_ranks_launch_what_4_do(monkeypatch):
    monkeypatch.setitem(TILE_ROWS, "cpu", ROWS * 128)  # all rows in one tile, as on a GPU
    few, many = step(4, OBJECTIVE), step(128, OBJECTIVE)
    assert len(few.waits) == len(many.waits) == 1, (few.waits, many.waits)
    assert few.launches == many.launches


def test_a_loss_that_is_not_planned_waits_for_sizes_and_labels_however_many_ranks_there_are():
    planned = step(128, BY_LABEL).waits
    assert sorted(step(128, BY_LABEL, planned=False).waits) == sorted(["cpu", "tolist", *planned])


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: x.unique(),
        lambda x: bool(x.any()),
        lambda x: x.tolist(),
    ],
)
def test_what_waits_is_counted(wait):
    count = Count()
    with count, CountMethods(count):
        wait(torch.arange(3))
    assert count.waits
