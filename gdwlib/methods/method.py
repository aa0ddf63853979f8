"""What a method is: one step on one batch. A new one is a short file with a subclass and a line in
the registry."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from gdwlib import weighting
from gdwlib._types import Float, Int, Tensor
from gdwlib.learner import Learner
from gdwlib.methods.settings import Schedule, Settings


class MethodContext(NamedTuple):
    """What a method may know of the data, on the device."""

    num_classes: int  # C
    labels: Int[Tensor, " N"]  # of the training set as given, possibly wrong
    x_meta: Float[Tensor, "M c h w"]  # the whole meta set, not augmented; see `meta_parts`
    y_meta: Int[Tensor, " M"]
    # the expected share of wrong labels, where known; only for methods that must be told
    wrong_rate: float | None
    new_network: Callable[[], nn.Module]  # one more of the run's kind, freshly initialised
    # the meta set in parts, where `x_meta` is left empty for size
    stream: Callable[[], Iterable[Tensor]] | None = None

    def meta_parts(self) -> Iterable[Float[Tensor, "m c h w"]]:
        """The whole meta set in its order, some hundred images at a time."""
        return self.stream() if self.stream is not None else self.x_meta.split(1000)

    def one_hot(self) -> Float[Tensor, "N C"]:
        """The labels as given, in the images' dtype."""
        return weighting.one_hot(self.labels, self.x_meta.new_zeros(0, self.num_classes))


class Batch(NamedTuple):
    """What a step is given, on the device."""

    x: Float[Tensor, "n c h w"]
    y: Int[Tensor, " n"]  # labels as given, possibly wrong
    x_meta: Float[Tensor, "m c h w"]
    y_meta: Int[Tensor, " m"]
    index: Int[Tensor, " n"]  # type: ignore[assignment]  # positions in the training set, for a state an example


@dataclass(frozen=True)
class StepResult:
    """What a step reports, detached, on the device. None: the method has no such thing."""

    # unweighted mean cross entropy of the batch trained on, before the update
    train_loss: Float[Tensor, ""]
    meta_loss: Float[Tensor, ""] | None = None  # after the virtual step
    # ω_t of each train example, or what the method has in its place
    target_weights: Float[Tensor, " n"] | None = None
    # ω before the meta step, where there is a before and an after
    first_weights: Float[Tensor, "n C"] | None = None
    class_weights: Float[Tensor, "n C"] | None = None  # ω′ after it: what the update used


class Method:
    """Owns how a model learns from a batch. Subclasses define `learn`, and the rest where they keep
    state.

    Where a method descends on a loss of its own, it says so twice: `losses(logits, batch)` (n,) is
    the definition, `logit_gradient(logits, batch)` (n, C) what a step uses.

    State that a step changes is changed in place (`copy_`, `x[index] = …`), so that a captured step
    (gdwlib/engines/capture.py) finds it where it was; and it is in `state_dict`.

    Args:
        model, optimizer: on the device.
        context: what may be known of the data.
        settings: the hyperparameters, of the class's own `Settings`.
        schedule: of the learning rate.

    A method that has hyperparameters declares them in a subclass of `Settings` (settings.py) and
    names that class.
    """

    title: str | None = None  # as tables and figures name it; None: by its key
    Settings: type[Settings] = Settings

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        context: MethodContext,
        settings: Any,
        schedule: Schedule,
    ):
        self.model, self.optimizer, self.context = model, optimizer, context
        self.settings, self.schedule = settings, schedule
        self.learner = Learner(model, optimizer, context.num_classes)
        self.learners = [self.learner]
        self.phase = 1  # which part of the run this is; the last one's accuracies are the method's

    @classmethod
    def total_epochs(cls, epochs: int) -> int:
        """Passes over the training set that the method makes under a schedule of so many epochs."""
        return epochs

    @classmethod
    def authors_recipe(cls, imbalance: float, full_size: bool) -> dict | None:
        """The fields of `RunConfig` as the method's own authors set them, where these are not the
        paper's; None: there is no such recipe.

        Args:
            imbalance: the run's μ, below 1 under imbalance.
            full_size: whether the run is of the paper's size, so that lengths and batch sizes hold.
        """
        return None

    def start_epoch(self, epoch: int) -> float:
        """Prepare for an epoch, from 0: set the learning rate and return it."""
        return self.set_learning_rate(self.schedule.learning_rate(epoch))

    def set_learning_rate(self, lr: float) -> float:
        for learner in self.learners:
            for group in learner.optimizer.param_groups:
                group["lr"] = lr
        return lr

    def step(self, batch: Batch) -> StepResult:
        """Learn from one batch. ValueError or FloatingPointError, naming the argument, where it
        cannot be one."""
        self.learner.check_batches(batch.x, batch.y, batch.x_meta, batch.y_meta)
        return self.learn(batch)

    def learn(self, batch: Batch) -> StepResult:
        """What `step` does with a checked batch. The running statistics should move once."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        """Everything a resume needs, made of tensors, numbers and containers."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def networks(self) -> dict[str, nn.Module]:
        """What a record keeps, each as NAME.pt."""
        return {"model": self.model}

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """All that a step moves something with."""
        return [learner.optimizer for learner in self.learners]

    def check(self) -> None:
        """Raise what a step on an accelerator could not raise without synchronising."""
        for learner in self.learners:
            learner.check()
