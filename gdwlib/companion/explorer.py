"""GDW's weights of one image, to play with: what the label, the probabilities, the clip and the
constraint do.

explorer.show(case, classes)  # sliders in a live notebook, one figure elsewhere

`case` is what `gdwlib.single_image_step` returns.
"""

import importlib.util
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from gdwlib import weighting
from gdwlib.companion.plots import CLEAN, PALETTE, WRONG, set_provenance
from gdwlib.runs.progress import on_a_page

Case = dict[str, np.ndarray]


class Weights(NamedTuple):
    """One image's weights through a step, each (C,)."""

    p: np.ndarray  # predicted probabilities, at most 0.999
    first: np.ndarray  # ω
    second: np.ndarray  # ω′ after Eq. 11 and, where it is imposed, Eq. 4
    weighted: np.ndarray  # p′ = ω′p / Σ ω′p
    before: np.ndarray  # p - y: plain training's gradient at the logits
    after: np.ndarray  # ω′ (p - y)
    clipped: np.ndarray  # whether the clip has shortened Eq. 11's step of the weight


def weights(
    case: Case,
    row: int,
    *,
    label: int | None = None,
    true_p: float | None = None,
    first: float | None = None,
    class_lr: float | None = None,
    clip: float | None = None,
    zero_mean: bool | None = None,
) -> Weights:
    """What Algorithm 1 makes of image `row` of the batch, had it another label or other
    probabilities.

    The image's row of J D v, in g_ij = -(1/n) (p_ij - y_ij) (J D v)_ij, is taken from the real step
    and held fixed: it says how the meta loss answers to the image's gradient at the logits. As
    things were, the weights are those of the real step.

    Args:
        case: from `gdwlib.single_image_step`.
        label: default the given one.
        true_p: the probability of the true class; the others keep their proportions. Default the
            network's.
        first: ω, one for all classes as V gives it. Default V's.
        class_lr: η_ω of Eq. 11. Default the step's, as with the next two.
        clip: of Eq. 11.
        zero_mean: impose Eq. 4.

    Raises:
        ValueError: a label that is no class, a probability outside 0 to 1, or a clip that is not
            above 0.
    """
    num_classes = case["probs"].shape[1]
    clip = float(case["clip"]) if clip is None else clip
    for name, fine, want in (
        ("label", label is None or label in range(num_classes), f"in 0..{num_classes - 1}"),
        ("true_p", true_p is None or 0 <= true_p <= 1, "in [0, 1]"),
        ("clip", clip > 0, "above 0"),
    ):
        if not fine:
            raise ValueError(f"{name}: must be {want}")
    probs, gradient = (
        torch.as_tensor(case[name], dtype=torch.float64) for name in ("probs", "class_gradient")
    )
    given, n = torch.as_tensor(case["given"]), len(probs)
    # (C,) J D v
    response = (
        -n * gradient[row] / weighting.logit_gradient(probs.clamp(max=weighting.P_MAX), given)[row]
    )
    response = torch.where(response.isfinite(), response, 0)
    p, true = probs[row], int(case["true"][row])
    if true_p is not None:
        others = p.clone()
        others[true] = 0
        if others.sum() == 0:  # the network is so sure that nothing is left
            others = 1 - torch.eye(num_classes, dtype=p.dtype)[true]
        p = others * (1 - true_p) / others.sum()
        p[true] = true_p
    p = p.clamp(max=weighting.P_MAX)[None]  # (1, C)
    t = torch.tensor([int(case["given"][row]) if label is None else label])
    d1 = weighting.logit_gradient(p, t)  # (1, C)
    batch = gradient.clone()  # its ℓ₁ norm is Eq. 11's
    batch[row] = -d1[0] * response / n
    omega = torch.as_tensor(case["first_weights"][row], dtype=torch.float64)[None]  # (1, C)
    if first is not None:
        omega = torch.full_like(omega, first)
    rate = float(case["class_lr"]) if class_lr is None else class_lr
    moved = weighting.update_weights(omega.expand_as(batch), batch, rate, clip)[row][None]  # (1, C)
    constrained = bool(case["zero_mean"]) if zero_mean is None else zero_mean
    second = weighting.zero_mean(moved, p, t) if constrained else moved
    shortened = (rate * batch[row] / batch.abs().sum()).abs() > clip  # (C,)
    set_by_constraint = (torch.arange(len(shortened)) == t) & constrained  # (C,)
    return Weights(
        p=p[0].numpy(),
        first=omega[0].numpy(),
        second=second[0].numpy(),
        weighted=(second * p / (second * p).sum())[0].numpy(),
        before=d1[0].numpy(),
        after=weighting.manipulate(second, d1)[0].numpy(),
        clipped=(shortened & ~set_by_constraint).numpy(),
    )


def figure(case: Case, classes: Sequence[str], row: int | None = None, **changes: Any) -> Figure:
    """An image of the batch, its weights, its weighted probabilities and the gradient before and
    after: what `show` draws. `changes` are those of `weights`."""
    row = int(case["shown"]) if row is None else row
    found = weights(case, row, **changes)
    true, label = int(case["true"][row]), changes.get("label")
    label = int(case["given"][row]) if label is None else label
    drawn, (left, *panels) = plt.subplots(
        1, 4, figsize=(9.5, 4.2), width_ratios=(1.0, 1.3, 1.3, 1.3)
    )
    image = case["images"][row]
    left.imshow(image.transpose(1, 2, 0) if len(image) == 3 else image[0], cmap="gray_r")
    left.set_title(
        f"a {classes[true]},\nlabelled “{classes[label]}”",
        color=CLEAN if true == label else WRONG,
        fontsize=10,
    )
    left.axis("off")
    place = np.arange(len(classes))
    for axes, title, pairs in (
        (panels[0], "weights", {"ω": found.first, "ω′": found.second}),
        (panels[1], "probabilities", {"p": found.p, "p′": found.weighted}),
        (panels[2], "gradient at the logits", {"p − y": found.before, "ω′ ∘ (p − y)": found.after}),
    ):
        for (name, values), offset, colour in zip(
            pairs.items(), (-0.2, 0.2), (PALETTE[7], PALETTE[0]), strict=True
        ):
            axes.barh(place + offset, values, 0.4, color=colour, label=name)
        axes.set_title(title, fontsize=10)
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_yticks(place, classes if axes is panels[0] else [""] * len(classes), fontsize=9)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="y", visible=False)
        axes.invert_yaxis()
        axes.legend(
            fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, frameon=False
        )
    for j, colour in ((label, WRONG), (true, CLEAN)):
        panels[0].get_yticklabels()[j].set_color(colour)
    lowest = min(0.0, found.second.min())
    panels[0].set_xlim(1.1 * lowest, 1.1 * max(1.0, found.second.max()))
    panels[1].set_xlim(0, 1)
    for j in np.flatnonzero(found.clipped).tolist():
        panels[0].text(0.02, j + 0.2, "clipped", fontsize=7, va="center", color="white")
    drawn.supxlabel(
        f"Σ ω′(p − y) = {found.after.sum().round(3) + 0:.3f} (Eq. 5 wants 0); "
        f"steps clipped: {found.clipped.sum()}",
        fontsize=9, x=0.01, ha="left",
    )  # fmt: skip
    return set_provenance(drawn, [str(case["run"])])


def show(case: Case, classes: Sequence[str], live: bool | None = None) -> Any:
    """Sliders for all of `weights` over `figure` in a live notebook; where widgets cannot run, the
    figure alone.

    Args:
        live: whether they can; default: there is ipywidgets, and the kernel stands behind
            JupyterLab or the like.
    """
    if live is None:
        live = on_a_page() and importlib.util.find_spec("ipywidgets") is not None
    if not live:
        figure(case, classes)  # shown as the cell ends
        return None
    import ipywidgets as widgets
    from IPython.display import display

    n, shown = len(case["given"]), int(case["shown"])
    wrong = [row for row in range(n) if case["given"][row] != case["true"][row] and row != shown]
    rows = [
        shown,
        *wrong[:24],
        *[row for row in range(n) if case["given"][row] == case["true"][row]][:8],
    ]
    names = [
        f"{classes[case['true'][row]]}, labelled “{classes[case['given'][row]]}” ({row})"
        for row in rows
    ]
    wide = {"layout": widgets.Layout(width="32em"), "style": {"description_width": "12em"}}
    live_ = {"continuous_update": True, **wide}
    controls = {
        "row": widgets.Dropdown(
            options=list(zip(names, rows, strict=True)), description="image", **wide
        ),
        "label": widgets.Dropdown(
            options=[(name, j) for j, name in enumerate(classes)], description="label", **wide
        ),
        "true_p": widgets.FloatSlider(
            min=0.001, max=0.999, step=0.001, description="p of the true class", **live_
        ),
        "first": widgets.FloatSlider(min=0.0, max=1.0, step=0.01, description="ω, from V", **live_),
        "class_lr": widgets.FloatLogSlider(
            float(case["class_lr"]), min=0, max=4, description="η_ω", **live_
        ),
        "clip": widgets.FloatSlider(
            float(case["clip"]), min=0.01, max=1.0, step=0.01, description="clip", **live_
        ),
        "zero_mean": widgets.Checkbox(
            bool(case["zero_mean"]), description="zero-mean constraint (Eq. 4)", **wide
        ),
    }
    place = widgets.Output()
    busy = False  # while several controls are being set

    def draw(*_: Any) -> None:
        if busy:
            return
        drawn = figure(case, classes, **{name: control.value for name, control in controls.items()})
        place.clear_output(wait=True)
        with place:
            display(drawn)
        plt.close(drawn)

    def as_it_was(*_: Any) -> None:
        """The image's own label, probabilities and weight."""
        nonlocal busy
        row, busy = controls["row"].value, True
        controls["label"].value = int(case["given"][row])
        controls["true_p"].value = float(case["probs"][row, case["true"][row]])
        controls["first"].value = float(case["first_weights"][row].mean())
        busy = False
        draw()

    for name, control in controls.items():
        control.observe(as_it_was if name == "row" else draw, "value")
    as_it_was()
    return widgets.VBox([*controls.values(), place])
