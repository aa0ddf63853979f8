"""One mislabelled image taken apart: what GDW and MWNet, each at the end of its own training, make
of the same batch (Figures 1 and 4)."""

import contextlib
import io
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gdwlib.data.batches import meta_order, train_order
from gdwlib.gdw import GDW, make_weight_optimizer
from gdwlib.runs.config import RunConfig, suggestion
from gdwlib.runs.files import write_file
from gdwlib.runs.folders import Folders
from gdwlib.runs.loading import DeviceLoader
from gdwlib.runs.records import RunRecord
from gdwlib.runs.training import load_split, run

# a damaged file of arrays
UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
ARRAYS = (
    "run",
    "mwnet_run",
    "auroc",
    "mwnet_auroc",
    "id",
    "sure",
    "images",
    "shown",
    "class_lr",
    "clip",
    "zero_mean",
    "given",
    "true",
    "losses",
    "probs",
    "first_weights",
    "class_weights",
    "class_gradient",
    "mwnet_first",
    "mwnet_weights",
)


def single_image_step(
    config: RunConfig,
    true: str,
    given: str,
    *,
    outputs: Path | str | None = None,
    data: Path | str | None = None,
) -> dict[str, np.ndarray]:
    """One step of GDW and one of MWNet on the same 100 training images, each from the networks of
    its own run.

    The image shown is, among those of class `true` labelled `given`, the one to whose true class
    the network of plain training (Base, the same data and seed) gives the highest probability. The
    others are the first of the run's first epoch; the meta batch likewise. The learning rate is
    half the run's, the schedule's middle. The result is kept in outputs/figures, and read from
    there the next time. Networks that are not in outputs/runs are trained first: up to three runs.

    Args:
        config: a run of GDW. MWNet's and Base's are those with its fields.

    Returns:
        arrays by name: `run` and `mwnet_run`, the ids; `auroc` and `mwnet_auroc` (percent), how
        well the runs' last ω_t tell right labels from wrong ones, NaN where no label is wrong;
        `id`, the image's; `sure`, Base's probability of its true class; `shown`: its row in the
        arrays below;
        `images` (n, channels, H, W) uint8 of the batch, before any averaging; `class_lr`, `clip`
        and `zero_mean` of the step; (n,): `given`, `true`, `losses`; (n, C): `probs`, and at the
        class level `first_weights` ω, `class_weights` ω′, `class_gradient` g; `mwnet_first` and
        `mwnet_weights` (n, C): MWNet's weights before and after its own step.

    Raises:
        ValueError: an unknown class name, no such image in the run's training set, or another
            method than GDW.
    """
    if config.method != "gdw":
        raise ValueError(
            f"method: must be gdw (MWNet's run follows from it), not {config.method!r}"
        )
    folders = Folders.named(outputs, data)
    path = folders.figures / f"step-{config.run_id}-{true}-labelled-{given}.npz"
    with contextlib.suppress(*UNREADABLE):
        with np.load(io.BytesIO(path.read_bytes())) as arrays:
            return {name: arrays[name] for name in ARRAYS}
    from gdwlib.companion.quantities import separation  # SciPy, which takes long to import

    split = load_split(config, folders.data)
    for name in (true, given):
        if name not in split.classes:
            raise ValueError(
                f"{config.dataset} has no class {name!r}{suggestion(name, split.classes)}"
            )
    t, g = split.classes.index(true), split.classes.index(given)
    candidates = np.flatnonzero((split.train.labels == t) & (split.given == g))
    if not len(candidates):
        raise ValueError(f"{config.run_id}: no {true} is labelled {given}")
    with tempfile.TemporaryDirectory() as elsewhere:

        def trained(method: str) -> RunRecord:
            ours = RunConfig.of_record(vars(config) | {"method": method})
            record = run(ours, outputs=folders.outputs, data=folders.data)
            # a record from the repository: train once more for the networks
            if not (record.path / "model.pt").is_file():
                record = run(ours, outputs=elsewhere, data=folders.data)
            return record

        records = {"class": trained("gdw"), "instance": trained("mwnet")}
        shape = len(split.classes), len(split.mean)
        base = trained("base").model(*shape)
        networks = {
            level: (record.model(*shape), record.weight_net()) for level, record in records.items()
        }
        separated = {
            level: np.array(separation(record), dtype=float) for level, record in records.items()
        }
    loader = DeviceLoader(config, split, torch.device("cpu"))
    loader.augment = False
    meta_rows = meta_order(len(split.meta.labels), min(100, len(split.meta.labels)), config.seed, 0)
    images = loader.train[torch.as_tensor(candidates)]
    sure = loader.probabilities(base.to(loader.mean.dtype), images)[:, t]  # (candidates,)
    shown = candidates[int(sure.argmax())]
    order = train_order(len(split.given), config.seed, 0)
    rows = np.concatenate([[shown], order[order != shown][:99]])  # (n,)
    batch = loader.batch(torch.as_tensor(rows), torch.as_tensor(meta_rows), torch.Generator())

    arrays = {
        "run": np.array(config.run_id),
        "mwnet_run": np.array(records["instance"].path.name),
        "auroc": separated["class"],
        "mwnet_auroc": separated["instance"],
        "id": split.train.ids[shown],
        "sure": sure.max(),
        "images": np.asarray(split.train.images[rows]),
        "shown": np.array(0),
        "class_lr": np.array(
            0.1 * len(rows) * len(split.classes) if config.class_lr is None else config.class_lr
        ),
        "clip": np.array(config.clip),
        "zero_mean": np.array(config.zero_mean),
        "given": split.given[rows],
        "true": split.train.labels[rows],
    }
    for level, (theta, phi) in networks.items():
        theta, phi = theta.to(loader.mean.dtype), phi.to(loader.mean.dtype)
        theta.train()  # batch norm by the batch, as in training; `step` leaves the mode as it is
        gdw = GDW(
            theta,
            torch.optim.SGD(theta.parameters(), config.lr / 2),
            len(split.classes),
            weight_net=phi,
            weight_optimizer=make_weight_optimizer(
                phi, lr=config.weight_lr, weight_decay=config.weight_weight_decay
            ),
            class_lr=config.class_lr,
            clip=config.clip,
            zero_mean=config.zero_mean,
            level=level,
        )
        out = gdw.step(batch.x, batch.y, batch.x_meta, batch.y_meta)
        if level == "class":
            losses = torch.nn.functional.cross_entropy(out.logits, batch.y, reduction="none")
            kept = {
                "losses": losses,
                "probs": out.logits.softmax(1),
                "first_weights": out.first_weights,
                "class_weights": out.class_weights,
                "class_gradient": out.class_gradient,
            }
        else:
            kept = {"mwnet_first": out.first_weights, "mwnet_weights": out.class_weights}
        arrays |= {name: value.numpy() for name, value in kept.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_file(path, buffer.getvalue())
    return arrays


def training_images(
    config: RunConfig,
    ids: Sequence[int],
    *,
    outputs: Path | str | None = None,
    data: Path | str | None = None,
) -> np.ndarray:
    """Training images of a run, by id, (n, channels, H, W) uint8, before any averaging. They are
    kept in outputs/figures and read from there the next time, so that a figure can be drawn without
    the data set.

    Raises:
        ValueError: an id that is not among the run's training images.
    """
    folders = Folders.named(outputs, data)
    path = folders.figures / f"images-{config.run_id}.npz"
    wanted = np.asarray(ids)  # (n,)
    with contextlib.suppress(*UNREADABLE):
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            if np.array_equal(arrays["ids"], wanted):
                return arrays["images"]
    split = load_split(config, folders.data)
    where = {id_: k for k, id_ in enumerate(split.train.ids.tolist())}
    if absent := [id_ for id_ in wanted.tolist() if id_ not in where]:
        raise ValueError(f"{config.run_id}: has no training image {absent[0]}")
    images = np.asarray(split.train.images[np.array([where[id_] for id_ in wanted.tolist()])])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ids=ids, images=images)
    write_file(path, buffer.getvalue())
    return images
