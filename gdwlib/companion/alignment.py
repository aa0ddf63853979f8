"""What the meta step asks of images, by their loss: all that MWNet's weighting network can go
by."""

import contextlib
import json
from pathlib import Path

import torch

from gdwlib.data.batches import epoch_indices
from gdwlib.data.randomness import torch_rng, torch_seed
from gdwlib.gdw import GDW, StepOutput
from gdwlib.runs.config import RunConfig
from gdwlib.runs.files import write_file
from gdwlib.runs.folders import Folders
from gdwlib.runs.loading import DeviceLoader
from gdwlib.runs.progress import Progress
from gdwlib.runs.training import build_method, load_split
from gdwlib.weighting import cross_entropy

PARTS = 5  # of the training images, sorted by their loss


def gradient_alignment(
    config: RunConfig, *, outputs: Path | str | None = None, data: Path | str | None = None
) -> list[dict]:
    """Train MWNet (or GDW) once more and watch: an image's *alignment* is -n ∂L_meta/∂w_i, how fast
    the meta loss falls with more weight on the whole image, times the batch size n.

    The result is kept in outputs/figures, and read from there the next time.

    Returns:
        a row for each epoch and fifth of the training images by loss: `epoch`, `part` (0: smallest
        losses), `loss` (mean, nats), `wrong` (percent of its labels), `weight` (mean ω_t),
        `alignment` (mean), and its mean over the rightly and the wrongly labelled ones,
        `alignment_right` and `alignment_wrong` (None where there are none).

    Raises:
        ValueError: a method without a weighting network, or one whose meta step is not made in
            every step.
    """
    if config.method not in ("mwnet", "gdw"):
        raise ValueError(
            "method: must be 'mwnet' or 'gdw', which have a weighting network; not "
            f"{config.method!r}"
        )
    if getattr(config, "meta_every", 1) != 1:
        raise ValueError(
            f"meta_every: must be 1, so that every step has an alignment; not {config.meta_every}"
        )
    folders = Folders.named(outputs, data)
    path = folders.figures / f"alignment-{config.run_id}.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())
    split = load_split(config, folders.data)
    right = torch.as_tensor(split.given == split.train.labels)
    device = config.torch_device()
    right = right.to(device)
    rows = []
    with torch.random.fork_rng(device_type=device.type if device.type != "cpu" else "cuda"):
        loader = DeviceLoader(config, split, device)
        model, method = build_method(config, split, loader)
        gdw: GDW = method.gdw  # type: ignore[attr-defined]  # of these two methods
        progress_log = Progress(config, True)
        for epoch in range(config.total_epochs):
            method.start_epoch(epoch)
            model.train()
            torch.manual_seed(torch_seed(config.seed, "layers", epoch))
            generator = torch_rng(config.seed, "augmentation", epoch)
            count, meta = len(loader.train), len(loader.meta)
            seen = []
            for index, meta_index in epoch_indices(
                count, meta, config.batch_size, config.seed, epoch, device
            ):
                batch = loader.batch(index, meta_index, generator)
                out = gdw.step(batch.x, batch.y, batch.x_meta, batch.y_meta)
                weight = out.class_weights.gather(1, batch.y[:, None])[:, 0]  # (n,)
                losses = cross_entropy(out.logits, batch.y)  # (n,)
                # (4, n)
                seen.append(torch.stack([losses, weight, alignment_of(out), right[index]]))
            rows += [
                {"epoch": epoch + 1, **row} for row in _by_loss(torch.cat(seen, 1).cpu().double())
            ]
            last = epoch + 1 == config.total_epochs
            progress_log.tell(f"epoch {epoch + 1}/{config.total_epochs}, watched" + ", done" * last)
    write_file(path, (json.dumps(rows) + "\n").encode())
    return rows


def alignment_of(out: StepOutput) -> torch.Tensor:
    """(n,) alignments in a step's batch: an image's weight is the weight of all its classes at
    once."""
    return -len(out.class_gradient) * out.class_gradient.sum(1)


def _by_loss(seen: torch.Tensor) -> list[dict]:
    """(4, N) loss, weight, alignment, whether the label is right → a row for each fifth of the
    images."""
    rows = []
    for part, order in enumerate(seen[0].argsort().tensor_split(PARTS)):
        loss, weight, alignment, right = seen[:, order]  # each (N/5,)

        def mean(of: torch.Tensor) -> float | None:
            return float(of.mean()) if len(of) else None

        rows.append(
            {
                "part": part,
                "loss": mean(loss),
                "wrong": 100 * float(1 - right.mean()),
                "weight": mean(weight),
                "alignment": mean(alignment),
                "alignment_right": mean(alignment[right == 1]),
                "alignment_wrong": mean(alignment[right == 0]),
            }
        )
    return rows
