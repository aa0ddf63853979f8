"""What a step has to know of an optimizer of `torch.optim`, and how a gradient is handed to it:
which parameters it moves and how fast, in which direction, and the step itself.
"""

import torch
from torch import nn

from gdwlib._types import Tensor
from gdwlib.bilevel import State

PRECONDITIONED = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
)


def check_preconditioned(optimizer: torch.optim.Optimizer) -> None:
    """ValueError where `preconditioners` does not know the optimizer."""
    if not isinstance(optimizer, PRECONDITIONED):
        known = ", ".join(kind.__name__ for kind in PRECONDITIONED)
        raise ValueError(
            f"virtual: 'optimizer' is known for {known}, not for {type(optimizer).__name__}; use "
            "virtual='sgd'"
        )


def preconditioners(
    optimizer: torch.optim.Optimizer, params: dict[str, nn.Parameter]
) -> dict[str, float | Tensor]:
    """What an adaptive optimizer multiplies each gradient with beside its learning rate, entry by
    entry and as its last step left it, by parameter name:

        Adam, AdamW    1 / (√v̂ + ε), the second moment without its bias; with `amsgrad` its maximum
        RMSprop        1 / (√v + ε), or 1 / (√(v - m²) + ε) where `centered`
        Adagrad        1 / ((1 + t·decay)·(√s + ε)) after t steps
        SGD            1

    and 1 before the first step. Momentum and weight decay are not part of it.

    Raises:
        ValueError: another optimizer, by name.
    """
    check_preconditioned(optimizer)
    group_of = {id(param): group for group in optimizer.param_groups for param in group["params"]}

    def of(param: nn.Parameter) -> float | Tensor:
        state, group = optimizer.state.get(param, {}), group_of[id(param)]
        if isinstance(optimizer, torch.optim.SGD) or not state:
            return 1.0
        if isinstance(optimizer, torch.optim.Adagrad):
            if not state["step"]:  # it has a state from the beginning
                return 1.0
            decay = 1 + state["step"] * group["lr_decay"]
            return 1 / (decay * (state["sum"].sqrt() + group["eps"]))
        if isinstance(optimizer, torch.optim.RMSprop):
            second = state["square_avg"]
            if group["centered"]:
                second = (second - state["grad_avg"] ** 2).clamp(min=0)
        else:
            second = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
            second = second / (1 - group["betas"][1] ** state["step"])
        return 1 / (second.sqrt() + group["eps"])

    return {name: of(param) for name, param in params.items()}


def trainable_parameters(
    model: nn.Module, optimizer: torch.optim.Optimizer, name: str = "optimizer"
) -> tuple[State, dict[str, float]]:
    """The parameters an optimizer step would move, detached, and each one's current learning rate,
    by name.

    Raises:
        ValueError: the optimizer owns none of the model's parameters, needs a closure, or has
            maximize=True.
    """
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError(
            f"{name}: LBFGS evaluates the model by itself; use one that steps on given gradients"
        )
    if any(group.get("maximize") for group in optimizer.param_groups):
        raise ValueError(f"{name}: has maximize=True, and a loss is to be minimized; leave it off")
    lr_of = {
        id(param): group["lr"] for group in optimizer.param_groups for param in group["params"]
    }
    own = {key: p for key, p in model.named_parameters() if p.requires_grad and id(p) in lr_of}
    if not own:
        raise ValueError(f"{name}: holds none of the trainable parameters it should")
    return {key: p.detach() for key, p in own.items()}, {
        key: lr_of[id(p)] for key, p in own.items()
    }


def add_gradient(model: nn.Module, gradient: State, scale: float = 1.0) -> None:
    """Add a gradient (by parameter name) to the parameters' `.grad`, as `loss.backward()` does, the
    parameters' own hooks included."""
    for name, param in model.named_parameters():
        if name in gradient:
            part = gradient[name] if scale == 1 else scale * gradient[name]
            for hook in (param._backward_hooks or {}).values():  # of `register_hook`
                changed = hook(part)
                part = part if changed is None else changed
            param.grad = part if param.grad is None else param.grad.add_(part)
            hooks = getattr(param, "_post_accumulate_grad_hooks", None) or {}
            for hook in hooks.values():
                hook(param)


def optimizer_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    gradient: State,
    max_norm: float | None = None,
) -> None:
    """Hand `gradient` (by parameter name) to the optimizer and step."""
    optimizer.zero_grad()
    model.zero_grad()
    add_gradient(model, gradient)
    if max_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
