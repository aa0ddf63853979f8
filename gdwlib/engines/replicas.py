"""Replicas: runs that differ only in their seed, trained in lock step, their networks computed as
one.

K networks of C channels are one network of K·C channels in K groups; batch norm, being per channel,
is per replica by itself. `train_replicas` lets every run's own code go on until it wants a pass
through its network, gathers these requests, answers them all with one pass through the wide
network, and hands each run its part. Nothing of a run is shared or approximated: parameters,
running statistics, optimizers, data order and random numbers are its own, and it ends with the
numbers of the run made alone, up to the order of sums.

The runs take turns, one at a time, each on a thread of its own: threads serve here as coroutines.
"""

import copy
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gdwlib import bilevel
from gdwlib._types import Tensor
from gdwlib.learner import Engine


class GroupedLinear(nn.Linear):
    """K linear layers side by side: (n, K·in) → (n, K·out)."""

    groups = 1

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x[:, :, None], self.weight[:, :, None], self.bias, groups=self.groups)[
            :, :, 0
        ]


def widened(model: nn.Module, replicas: int) -> nn.Module:
    """The structure of K such networks side by side: images (n, K·c, h, w) → logits (n·K, C), an
    image's replicas in consecutive rows. Its parameters and buffers are to be given, the replicas'
    joined along their first dimension.

    A module that treats channels as a whole (a shortcut that pads them, say) takes part by having
    an attribute `replicas`, which is set to K.
    """
    wide: Any = copy.deepcopy(model)
    for module in wide.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            module.groups *= replicas
        elif isinstance(module, nn.GroupNorm):
            module.num_groups *= replicas
        elif isinstance(module, nn.Linear):
            module.__class__ = GroupedLinear
            module.groups = replicas  # type: ignore[assignment]
        elif hasattr(module, "replicas"):
            module.replicas = replicas
    wide.verified = False  # whether it has given a lone replica's logits
    wide.register_forward_hook(lambda _, args, logits: logits.reshape(len(logits) * replicas, -1))
    return wide


def join(states: Sequence[bilevel.State]) -> bilevel.State:
    """The wide network's parameters or buffers from the replicas'."""
    columns = {name: [state[name] for state in states] for name in states[0]}
    return {
        name: torch.cat(parts) if parts[0].dim() else torch.stack(parts)
        for name, parts in columns.items()
    }


def split(joined: bilevel.State, like: bilevel.State, replicas: int) -> list[bilevel.State]:
    """The reverse of `join`; `like`: one replica's."""
    parts = {
        name: value.reshape(replicas, *like[name].shape).unbind() for name, value in joined.items()
    }
    return [{name: values[k] for name, values in parts.items()} for k in range(replicas)]


def interleaved(tensors: list[Tensor]) -> Tensor:
    """Each replica's (n, …) as the rows of the wide network's (n·K, …)."""
    return torch.stack(tensors, 1).flatten(0, 1)


class JointPass:
    """A forward pass of several replicas' batches."""

    def __init__(
        self, requests: dict["Replica", tuple], wide: Callable[[nn.Module, int], nn.Module]
    ):
        self.members = list(requests)
        self.waiting = set(requests)  # those who have not been here for the last time
        models, params, buffers, xs, keeps = zip(*requests.values(), strict=True)
        k = len(self.members)
        self.params, self.buffers = params[0], buffers[0]
        before = bilevel.random_state(xs[0])
        x = torch.cat(xs, 1)  # (n, K·c, h, w)
        self.inputs: Any = wide(models[0], k), join(params), join(buffers), x
        self.forward_pass = bilevel.forward(*self.inputs, keep=keeps[0])
        for old, new in zip(before, bilevel.random_state(xs[0]), strict=True):
            if old is not None and new is not None and not torch.equal(old, new):
                raise ValueError(
                    "model: draws random numbers, which replicas cannot share; train the runs one "
                    "by one"
                )
        self.logits = self.forward_pass.logits.view(len(xs[0]), k, -1).unbind(1)  # K × (n, C)
        self.moved = split(self.forward_pass.buffers, self.buffers, k)
        if not self.inputs[0].verified:
            self._verify(models, params, buffers, xs)

    def _verify(self, models, params, buffers, xs) -> None:
        """Once a wide network: are its logits those of a network alone? A replica that has diverged
        cannot tell."""
        for mine, *inputs in zip(self.logits, models, params, buffers, xs, strict=True):
            alone, _ = bilevel.apply(*inputs)  # (n, C)
            if alone.isfinite().all():
                if not torch.allclose(alone, mine, rtol=1e-2, atol=1e-2 * float(alone.abs().max())):
                    raise ValueError(
                        "model: mixes channels in a way that replicas do not know; train the runs "
                        "one by one"
                    )
                self.inputs[0].verified = True
                return

    def pullback(self, requests: dict["Replica", tuple], last: bool) -> dict["Replica", object]:
        if last:
            self.waiting -= requests.keys()
        (some,) = next(iter(requests.values()))
        # (n·K, C)
        c = interleaved(
            [requests.get(member, (torch.zeros_like(some),))[0] for member in self.members]
        )
        parts = split(
            self.forward_pass.pullback(c, last=not self.waiting)[0], self.params, len(self.members)
        )
        return {
            member: (part,)
            for member, part in zip(self.members, parts, strict=True)
            if member in requests
        }

    def look_ahead(self, requests: dict["Replica", tuple]) -> dict["Replica", object]:
        # stands in for a member that has stopped; its answer is dropped
        some = next(iter(requests.values()))
        lrs, cs, x_metas, y_metas = zip(
            *(requests.get(member, some) for member in self.members), strict=True
        )
        k = len(self.members)
        response, losses = self.forward_pass.look_ahead(
            self._rates(lrs),
            None if cs[0] is None else interleaved(list(cs)),
            torch.cat(x_metas, 1),
            interleaved(list(y_metas)),
        )
        responses = response.view(-1, k, response.shape[1]).unbind(1)  # K × (n, C)
        parts = zip(responses, losses.view(-1, k).unbind(1), strict=True)  # K × ((n, C), (m,))
        return {
            member: part
            for member, part in zip(self.members, parts, strict=True)
            if member in requests
        }

    def _rates(self, lrs: tuple[dict[str, Any], ...]) -> dict[str, float | Tensor]:
        if all(own == lrs[0] for own in lrs):
            return lrs[0]
        return {  # as when replicas go on from checkpoints of different epochs
            name: torch.cat(
                [
                    torch.full_like(value[:, *[slice(1)] * (value.dim() - 1)], own[name])
                    for own in lrs
                ]
            )
            for name, value in self.params.items()
        }


class ReplicaPass(bilevel.TrainPass):
    """A replica's share of a `JointPass`."""

    def __init__(self, replica: "Replica", joint: JointPass):
        self.replica, self.joint = replica, joint
        k = joint.members.index(replica)
        self.logits, self.buffers = joint.logits[k], joint.moved[k]

    def pullback(self, c: Tensor, last: bool = False) -> tuple[bilevel.State]:
        return self.replica.request("pullback", (self.joint, last), (c,))

    def look_ahead(self, lrs, c, x_meta: Tensor, y_meta: Tensor) -> tuple[Tensor, Tensor]:
        return self.replica.request(
            "look_ahead", (self.joint, c is None, x_meta.shape), (lrs, c, x_meta, y_meta)
        )


class Stop(BaseException):
    """Ends a replica's thread."""


class Replica(Engine):
    """One run's engine, and the thread the run is on."""

    def __init__(self, job: Callable[["Replica"], None], num_replicas: int):
        self.num_replicas = num_replicas  # how many replicas there are
        self.inbox: queue.SimpleQueue = queue.SimpleQueue()
        self.outbox: queue.SimpleQueue = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.random = _random_states()
        self.thread = threading.Thread(target=self._work, args=(job,), daemon=True)
        self.thread.start()

    def _work(self, job: Callable[["Replica"], None]) -> None:
        try:
            self._receive()
            job(self)
        except BaseException as error:
            self.error = error
        self.outbox.put(None)

    def _receive(self):
        answer = self.inbox.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def request(self, *request):
        self.outbox.put(request)
        return self._receive()

    def forward(self, model, params, buffers, x, keep=True) -> ReplicaPass:
        key = (x.shape, x.dtype, frozenset(params), keep)
        return ReplicaPass(self, self.request("forward", key, (model, params, buffers, x, keep)))

    def resume(self, answer) -> tuple | None:
        """Let the run go on with the answer to its request, to its next one; None: it has ended."""
        others = _random_states()
        _set_random_states(self.random)
        self.inbox.put(answer)
        try:
            return self.outbox.get()
        finally:
            self.random = _random_states()
            _set_random_states(others)


def _random_states() -> tuple[Tensor, list[Tensor]]:
    """Of the host's generator, and of the CUDA devices' where they are in use."""
    return (
        torch.get_rng_state(),
        torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    )


def _set_random_states(states: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(states[0])
    if states[1]:
        torch.cuda.set_rng_state_all(states[1])


@torch.no_grad()
def train_replicas(jobs: list[Callable[[Replica], None]]) -> list[BaseException | None]:
    """Run every job, each with an engine for its learners, and return what each one raised, or
    None.

    A job that fails leaves; the others go on. Interrupted itself, it ends all of them first.
    """
    replicas = [Replica(job, len(jobs)) for job in jobs]
    wide_networks: dict[tuple, nn.Module] = {}

    def wide(model: nn.Module, k: int) -> nn.Module:
        if (model, k) not in wide_networks:
            wide_networks[model, k] = widened(model, k)
        return wide_networks[model, k]

    try:
        answers: dict[Replica, object] = dict.fromkeys(replicas)
        while answers:
            requests_by_kind: dict[tuple, dict[Replica, tuple]] = {}  # alike ones together
            for replica, answer in answers.items():
                request = replica.resume(answer)
                if request is not None:
                    kind, key, content = request
                    requests_by_kind.setdefault((kind, key), {})[replica] = content
            answers = {}
            for (kind, key), requests in requests_by_kind.items():
                try:
                    if kind == "forward":
                        answers |= dict.fromkeys(requests, JointPass(requests, wide))
                    elif kind == "pullback":
                        answers |= key[0].pullback(requests, last=key[1])
                    else:
                        answers |= key[0].look_ahead(requests)
                except Exception as error:
                    answers |= dict.fromkeys(requests, error)
    except BaseException:
        for replica in replicas:
            replica.inbox.put(Stop())
        for replica in replicas:
            replica.thread.join()
        raise
    return [replica.error for replica in replicas]
