"""Equations 2 to 6 and 11 as properties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gdwlib
from gdwlib import weighting

settings.register_profile("gdwlib", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("gdwlib")


@st.composite
def problem(draw, clamped=True):
    """Weights (n, C), probabilities (n, C), labels (n,), float64; logits wide enough that the 0.999
    clamp bites."""
    n, num_classes = draw(st.integers(1, 6)), draw(st.sampled_from([2, 3, 10, 100]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    logits = draw(st.sampled_from([0.1, 1.0, 5.0, 12.0])) * torch.randn(
        n, num_classes, generator=generator, dtype=torch.float64
    )
    weights = 10 ** (
        draw(st.floats(-4, 2))
        * torch.rand(n, num_classes, generator=generator, dtype=torch.float64)
    )
    labels = torch.randint(0, num_classes, (n,), generator=generator)
    return weights, weighting.probabilities(logits) if clamped else logits.softmax(1), labels


@given(problem())
def test_the_manipulated_gradient_sums_to_zero_over_the_classes(case):  # Eq. 5
    w, p, y = case
    manipulated = weighting.manipulate(weighting.zero_mean(w, p, y), weighting.logit_gradient(p, y))
    scale = manipulated.abs().sum(1).clamp(min=1e-12)
    assert (manipulated.sum(1).abs() / scale < 1e-12).all()


@given(problem(clamped=False))
def test_it_is_an_instance_weight_times_a_cross_entropy_gradient(case):  # Eq. 6
    w, p, y = case
    w = weighting.zero_mean(w, p, y)
    p_weighted = w * p / (w * p).sum(1, keepdim=True)  # p′
    expected = w.gather(1, y[:, None]) * weighting.logit_gradient(p_weighted, y)
    torch.testing.assert_close(
        weighting.manipulate(w, weighting.logit_gradient(p, y)), expected, rtol=1e-9, atol=1e-10
    )


@given(problem(clamped=False), st.floats(1e-3, 1e3))
def test_constant_rows_are_a_fixed_point_where_probabilities_sum_to_one(case, constant):  # Eq. 4
    _, p, y = case
    rows = torch.full_like(p, constant)
    room = 1 - p.gather(1, y[:, None])  # the rounding of Σ_{j≠t} p_j / (1 - p_t)
    error = (weighting.zero_mean(rows, p, y) - rows).abs() / constant
    assert (error <= 1e-14 * p.shape[1] / room).all()


@given(problem())
def test_only_the_target_column_is_constrained(case):
    w, p, y = case
    changed = weighting.zero_mean(w, p, y) != w
    assert not (changed & ~weighting.one_hot(y, p).bool()).any()


@given(problem(), st.floats(0.01, 1e4), st.floats(0.01, 1.0), st.booleans())
def test_the_update_never_exceeds_the_clip(case, class_lr, clip, vanishing):  # Eq. 11
    w, p, _ = case
    g = torch.zeros_like(w) if vanishing else p - 0.3
    after = weighting.update_weights(w, g, class_lr, clip)
    inside = w.clamp(weighting.WEIGHT_MIN, weighting.WEIGHT_MAX)
    assert ((after - inside).abs() <= clip * (1 + 1e-12)).all()
    assert (after >= weighting.WEIGHT_MIN).all()
    if vanishing:
        assert torch.equal(after, inside)  # the official code gives NaN here
    else:
        assert ((after - inside) * g <= 0).all()


@given(problem())
def test_the_mean_step_is_class_lr_over_n_times_c(case):  # why the default is 0.1·n·C
    w, p, _ = case
    w, g = w + 1e3, p - 0.3
    step = w - weighting.update_weights(w, g, 0.1 * w.numel(), clip=1e6)
    torch.testing.assert_close(step.abs().mean(), torch.tensor(0.1, dtype=w.dtype))


@given(problem(clamped=False))
def test_the_logit_gradient_is_autograds(case):  # Eq. 1, Appendix A
    _, p, y = case
    logits = p.log().detach().requires_grad_()
    (expected,) = torch.autograd.grad(
        torch.nn.functional.cross_entropy(logits, y, reduction="sum"), logits
    )
    torch.testing.assert_close(weighting.logit_gradient(logits.softmax(1), y).detach(), expected)
    torch.testing.assert_close(
        weighting.cross_entropy(logits, y),
        torch.nn.functional.cross_entropy(logits, y, reduction="none"),
    )


def test_a_certain_target_keeps_its_weight():
    w, p = torch.tensor([[2.0, 3.0]]), torch.tensor([[1.0, 0.0]])
    assert torch.equal(gdwlib.zero_mean(w, p, torch.tensor([0])), w)


def test_probabilities_are_clamped_only_above():
    p = weighting.probabilities(torch.tensor([[20.0, 0.0, -20.0]]))
    assert p[0, 0] == pytest.approx(0.999) and p[0, 2] < 1e-15
