"""What a method is: one step on one batch. A new one is a short file with a subclass and a line in the registry."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from gdwlib._types import Float, Int, Tensor


class Batch(NamedTuple):
    """What a step is given, on the device."""

    x: Float[Tensor, "n c h w"]
    y: Int[Tensor, " n"]  # labels as given, possibly wrong
    x_meta: Float[Tensor, "m c h w"]
    y_meta: Int[Tensor, " m"]
    index: Int[Tensor, " n"]  # positions in the training set, for methods with a state an example


@dataclass(frozen=True)
class Outcome:
    """What a step reports, detached, on the device. None: the method has no such thing."""

    train_loss: Float[Tensor, ""]  # unweighted mean cross entropy of the batch trained on, before the update
    meta_loss: Float[Tensor, ""] | None = None  # after the virtual step
    target_weights: Float[Tensor, " n"] | None = None  # ω_t of each train example


class Method:
    """Owns how a model learns from a batch. Subclasses define `step`, and the rest where they keep state.

    Args:
        model, optimizer: on the device; the training loop sets the learning rate.
        num_classes: C.
        config: the run's `RunConfig`, for hyperparameters.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, num_classes: int, config):
        self.model, self.optimizer, self.num_classes, self.config = model, optimizer, num_classes, config

    def step(self, batch: Batch) -> Outcome:
        """Learn from one batch. The model is in train mode; its running statistics should move once."""
        raise NotImplementedError

    def state_dict(self) -> dict:
        """Everything a resume needs."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def networks(self) -> dict[str, nn.Module]:
        """What a record keeps, each as NAME.pt."""
        return {"model": self.model}

    def check(self) -> None:
        """Raise what a step on an accelerator could not raise without synchronising."""
