"""Equations 2 to 6 and 11 of the paper, as pure functions on (n, C) tensors.

A row is a training example, a column a class. Notation as in the paper: `p` softmax probabilities,
`y` one-hot labels, `D1 = p - y` the gradient of the cross entropy with respect to the logits, `w`
(omega) class-level weights, `t` the column of the given label. Nothing here knows about networks.
"""

import torch

from gdwlib._types import Float, Int, Tensor

P_MAX = 0.999  # the official code's clamp: keeps 1 - p_t away from 0 in Eq. 4
# the official code's clamp on the weights between Eq. 11 and Eq. 4
WEIGHT_MIN, WEIGHT_MAX = 1e-6, 1e6


def one_hot(labels: Int[Tensor, " n"], probs: Float[Tensor, "_ C"]) -> Float[Tensor, "n C"]:
    """y, as wide as `probs` and in its dtype. (A comparison, because `F.one_hot` synchronises the
    device.)"""
    # (n, C)
    return (labels[:, None] == torch.arange(probs.shape[1], device=labels.device)).to(probs.dtype)


def probabilities(logits: Float[Tensor, "n C"]) -> Float[Tensor, "n C"]:
    """Softmax, clamped to at most 0.999 as the official code does before D1. A clamped row sums to
    less than one."""
    return logits.softmax(1).clamp(max=P_MAX)  # (n, C)


def cross_entropy(logits: Float[Tensor, "n C"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Per-example cross entropy in nats, from unclamped logits."""
    # not F.cross_entropy: an out-of-range label would abort a whole CUDA context instead of raising
    # an error
    return logits.logsumexp(1) - (one_hot(labels, logits) * logits).sum(1)  # (n,)


def logit_gradient(probs: Float[Tensor, "n C"], labels: Int[Tensor, " n"]) -> Float[Tensor, "n C"]:
    """D1 = p - y (Eq. 1 and Appendix A): the gradient of each example's cross entropy at its
    logits."""
    return probs - one_hot(labels, probs)  # (n, C)


def manipulate(
    weights: Float[Tensor, "n C"], gradient: Float[Tensor, "n C"]
) -> Float[Tensor, "n C"]:
    """D1' = w ∘ D1 (Eq. 2): every class-level gradient flow scaled by its own weight."""
    return weights * gradient  # (n, C)


def zero_mean(
    weights: Float[Tensor, "n C"], probs: Float[Tensor, "n C"], labels: Int[Tensor, " n"]
) -> Float[Tensor, "n C"]:
    """Impose the zero-mean constraint (Eq. 4): overwrite each row's target weight with

        w_t = Σ_{j≠t} w_j p_j / (1 - p_t),

    so that Σ_j w_j (p_j - y_j) = 0 (Eq. 5). Non-target weights are untouched; a row with p_t = 1 is
    left as it is.

    Args:
        weights: class-level weights w.
        probs: the probabilities the weights will multiply, clamped or not.
        labels: given labels, integers in 0..C-1.

    Example:
        >>> probs, labels = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([0])
        >>> zero_mean(torch.tensor([[1.0, 0.2, 0.8]]), probs, labels)
        tensor([[0.4400, 0.2000, 0.8000]])
    """
    target = one_hot(labels, probs)  # (n, C)
    p_t = (target * probs).sum(1, keepdim=True)  # (n, 1)
    others = ((1 - target) * weights * probs).sum(1, keepdim=True)  # (n, 1) Σ_{j≠t} w_j p_j
    # (n, 1)
    w_t = torch.where(p_t < 1, others / (1 - p_t), (target * weights).sum(1, keepdim=True))
    return torch.where(target.bool(), w_t, weights)  # (n, C)


def update_weights(
    weights: Float[Tensor, "n C"], gradient: Float[Tensor, "n C"], class_lr: float, clip: float
) -> Float[Tensor, "n C"]:
    """Second-stage weights before the constraint (Eq. 11): w' = w - clip(class_lr · g / ‖g‖₁,
    ±clip).

    The ℓ₁ norm is over the whole mini-batch; where it is 0 (the official code divides by it)
    nothing moves. Then clamped to [1e-6, 1e6], as in the official code.

    Args:
        weights: first-stage weights w.
        gradient: g = ∂L_meta/∂w.
        class_lr: η_w; a step's mean size before the clip is class_lr / (n·C).
        clip: the largest size of a step.
    """
    norm = gradient.abs().sum()  # ()
    step = class_lr * gradient / torch.where(norm > 0, norm, 1)  # (n, C)
    return (weights - step.clamp(-clip, clip)).clamp(WEIGHT_MIN, WEIGHT_MAX)  # (n, C)
