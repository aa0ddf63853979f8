"""run(config): train, evaluate once an epoch, checkpoint, resume, and leave a record."""

import contextlib
import math
import threading
import time
from pathlib import Path

import torch
from torch import nn

from gdwlib.data import DATASETS, OwnData, Split, make_split
from gdwlib.data.own.spelling import as_csv
from gdwlib.data.randomness import torch_seed
from gdwlib.engines.capture import Captured, CudaGraph, set_capturable
from gdwlib.engines.devices import gpu_slot
from gdwlib.learner import LOCAL_ENGINE, Engine
from gdwlib.methods import METHODS, Method
from gdwlib.models import MODELS
from gdwlib.runs.config import PRECISIONS, RunConfig
from gdwlib.runs.diagnostics import WeightStatistics
from gdwlib.runs.files import RecordError
from gdwlib.runs.folders import Folders
from gdwlib.runs.loading import DeviceLoader, make_loader
from gdwlib.runs.machine import environment, ieee_float32, keep_freed_memory
from gdwlib.runs.pretrained import imagenet_weights
from gdwlib.runs.progress import Progress
from gdwlib.runs.records import RunRecord
from gdwlib.runs.run_folder import ReadOnlyFolder, RunFolder

# a run sets the process's random state and precision: another thread's waits for it
ONE_RUN = threading.RLock()


class OutOfTime(RuntimeError):
    """A run has stopped at the time it was given; what it finished is kept, and the same call goes
    on from there."""


def run(
    config: RunConfig,
    *,
    outputs: Path | str | None = None,
    data: Path | str | None = None,
    progress: bool = True,
    until: float | None = None,
    wait: bool = False,
    runs_per_gpu: int | None = None,
    engine: Engine = LOCAL_ENGINE,
) -> RunRecord:
    """Load the record if the run is complete, resume it if it was interrupted, train it otherwise.

    Of runs in several threads one trains and the others wait, since the random state is the
    process's. To train at once, start processes (`gdwlib sweep --cores`).

    Args:
        outputs, data: folders; default outputs/ and data/ of the project.
        progress: show a bar in a terminal, lines elsewhere, on standard error.
        until: stop by then (as of `time.time`), before an epoch that would take longer.
        wait: where another process is training this very run, wait for it instead of raising
            RecordError.
        runs_per_gpu: cuda: train on a GPU that fewer than so many such runs are on, and wait for
            one.
        engine: where the networks' passes are made; default: in this process.

    Raises:
        DataError: a data file is missing or damaged.
        RecordError: the record cannot be written, or another process is training this very run.
        FloatingPointError: training has diverged; what was finished is kept.
        OutOfTime: it could not be finished in time; what was finished is kept.

    Example:
        >>> record = run(RunConfig(method="gdw", noise="uniform", noise_ratio=0.6, preset="small"))
        >>> round(record.final_accuracy, 1), len(record.metrics)
        (81.4, 11)
    """
    if config.capture and (device := config.torch_device().type) != "cuda":
        raise ValueError(f"capture: needs a CUDA device, this is {device}; leave it off")
    if until is not None:  # by a clock that nobody sets
        until += time.monotonic() - time.time()
    leads = engine.rank == 0
    folders = Folders.named(outputs, data)
    folder = (RunFolder if leads else ReadOnlyFolder)(folders.outputs, config)
    record, _ = _finished(folder, engine)
    if record is not None:
        folder.tidy()
        return record
    progress_log = Progress(config, progress, leads)
    with folder.locked(progress_log.say if wait else None):
        record, wrong = _finished(folder, engine)  # another process may have finished it meanwhile
        if record is not None:
            return record
        if wrong:
            progress_log.say(f"{wrong}; computing it again", always=True)
            folder.discard()
        split = load_split(config, folders.data) if leads else None
        engine.broadcast(0)  # one process downloads
        split = split or load_split(config, folders.data)
        for remark in split.remarks:
            progress_log.say(remark)
        kind = config.torch_device().type
        if kind == "cpu":
            keep_freed_memory()
        shared = (
            gpu_slot(runs_per_gpu, progress_log.say)
            if runs_per_gpu and kind == "cuda"
            else contextlib.nullcontext()
        )
        with (
            ONE_RUN if engine.num_replicas == 1 else contextlib.nullcontext(),
            shared,
            ieee_float32(),
            torch.random.fork_rng(device_type=kind if kind != "cpu" else "cuda"),
        ):
            about = environment(
                config.torch_device(),
                engine.num_replicas,
                engine.world_size,
                runs_per_gpu if kind == "cuda" else None,
            )
            try:
                _train(config, split, folder, progress_log, until, engine, about)
            except FloatingPointError as error:  # a result too: claims on stability count it
                folder.write_json("diverged.json", {"why": str(error)})
                raise
    record, wrong = _finished(folder, engine)
    if record is None:
        raise RecordError(f"{folder.path}: could not be read back ({wrong})")
    return record


def _finished(folder: RunFolder, engine: Engine) -> tuple[RunRecord | None, str | None]:
    """`folder.load()`, of which rank 0 decides whether there is a record."""
    record, wrong = folder.load()
    if not engine.broadcast(record is not None):
        return None, wrong
    return (record, wrong) if record is not None else folder.load()


def load_split(config: RunConfig, data: Path | str | None = None) -> Split:
    """The training, meta and test images of a run, and the labels it is given.

    Example:
        >>> split = load_split(RunConfig(preset="smoke", noise="uniform", noise_ratio=0.4))
        >>> split.train.images.shape, float((split.given != split.train.labels).mean())
        ((360, 1, 28, 28), 0.38055555555555554)
    """
    source = DATASETS[config.dataset]
    if isinstance(source, OwnData):
        source = source.open(config)
    elif source.sized is not None:
        source = source.sized(config.image_size or 0, config.skip_bad)
    return make_split(
        source if source is not DATASETS[config.dataset] else config.dataset,
        Folders.named(data=data).data,
        meta_per_class=config.meta_per_class,
        noise=config.noise,
        noise_ratio=config.noise_ratio,
        label_set=config.label_set,
        imbalance=config.imbalance,
        meta_overlap=config.meta_overlap,
        train_size=config.train_size,
        seed=config.seed,
    )


def build_method(config: RunConfig, split: Split, loader: DeviceLoader) -> tuple[nn.Module, Method]:
    """A freshly initialised network and the method that trains it."""
    torch.manual_seed(torch_seed(config.seed, "initial weights"))
    num_classes = len(split.classes)
    pretrained = imagenet_weights() if config.pretrained else None

    def new_network() -> nn.Module:
        model = MODELS[config.model](num_classes, len(split.mean))
        if pretrained is not None:
            model.load_state_dict(pretrained, strict=False)  # all but the last layer
        model.to(loader.mean.device, PRECISIONS[config.precision])
        return model.to(memory_format=torch.channels_last)

    model = new_network()
    optimizer = torch.optim.SGD(
        model.parameters(),
        config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.nesterov,
    )
    return model, METHODS[config.method](
        model,
        optimizer,
        loader.context(config, new_network, num_classes),
        config.settings,
        config.learning_rates,
    )


def _train(
    config: RunConfig,
    split: Split,
    folder: RunFolder,
    progress_log: Progress,
    until: float | None,
    engine: Engine,
    about: dict,
) -> None:
    device = config.torch_device()
    loader = make_loader(config, split, device)
    model, method = build_method(config, split, loader)
    count = len(split.given)
    # (N,) last ω_t
    target_weights = torch.full((count,), torch.nan, device=device, dtype=loader.mean.dtype)
    metrics: list[dict] = []

    checkpoint, wrong = folder.load_checkpoint(device)
    if checkpoint is not None:
        try:
            if checkpoint["target_weights"].shape != target_weights.shape:
                raise ValueError("target_weights: of other examples")
            method.load_state_dict(checkpoint["method"])
            metrics, target_weights = checkpoint["metrics"], checkpoint["target_weights"]
            progress_log.say(f"resuming after epoch {len(metrics)} of {config.total_epochs}")
        # as after an edit of the method
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            wrong = (
                f"{folder.path / 'checkpoint.pt'}: does not fit this code ({type(error).__name__})"
            )
            model, method = build_method(config, split, loader)
    if wrong:
        progress_log.say(f"{wrong}; starting again from the first epoch", always=True)
    if engine.broadcast(len(metrics)) != len(metrics):
        raise RecordError(
            f"{folder.path}: differs between the processes of the run; put outputs on a shared disk"
        )
    for optimizer in method.optimizers():
        set_capturable(optimizer, config.capture)
    record = CudaGraph() if config.capture else None
    for learner in method.learners:
        learner.engine, learner.save_memory = engine, config.save_memory
    folder.write_config(about, len(metrics))
    if isinstance(DATASETS[config.dataset], OwnData):
        trusted = [
            (id_, split.classes[c])
            for id_, c in zip(split.meta.ids, split.meta.labels, strict=True)
        ]
        folder.write("trusted.csv", as_csv(("id", "label"), trusted))

    statistics = WeightStatistics(config, split, device)
    with progress_log.epochs(len(metrics), -(-len(split.given) // config.batch_size)) as bar:
        for epoch in range(len(metrics), config.total_epochs):
            start = time.perf_counter()
            if until is not None and metrics and time.monotonic() + metrics[-1]["seconds"] > until:
                raise OutOfTime(f"stopped in time after epoch {epoch} of {config.total_epochs}")
            lr = method.start_epoch(epoch)
            train_loss, meta_loss = _epoch(
                config,
                epoch,
                method,
                loader,
                target_weights,
                statistics,
                bar,
                until,
                record,
                engine.rank,
            )
            engine.check_alike(method.networks())
            trained = time.perf_counter()
            if not math.isfinite(train_loss):
                raise FloatingPointError(
                    f"training diverged in epoch {epoch + 1}: train loss {train_loss}; lower lr"
                )
            accuracy = loader.test_accuracy(model, engine)
            metrics.append(
                {
                    "epoch": epoch + 1,
                    "phase": method.phase,
                    "learning_rate": lr,
                    "train_loss": train_loss,
                    "meta_loss": meta_loss,
                    "test_accuracy": accuracy,
                    **statistics.compute(target_weights),
                    "train_seconds": trained - start,
                    "seconds": time.perf_counter() - start,
                    "images_per_second": len(split.given) / (trained - start),
                }
            )
            folder.save_checkpoint(
                {
                    "method": method.state_dict(),
                    "metrics": metrics,
                    "target_weights": target_weights,
                }
            )
            folder.write_metrics(metrics)
            bar.epoch_done(metrics[-1])

    if isinstance(DATASETS[config.dataset], OwnData) and split.test is not None:
        counts = loader.test_confusion(model, len(split.classes), engine).tolist()
        table = [(name, *row) for name, row in zip(split.classes, counts, strict=True)]
        folder.write("confusion.csv", as_csv(("class", *split.classes), table))
    examples = {
        "ids": split.train.ids,
        "given_labels": split.given,
        "true_labels": split.train.labels,
        "target_weights": target_weights.float().cpu().numpy(),
    }
    folder.complete(metrics, examples, method.networks(), model_description(config, split))


def model_description(config: RunConfig, split: Split) -> dict:
    """What model.json says of a network: what it takes to rebuild it, and to prepare what it is to
    label."""
    shape = split.train.images.shape
    return {
        "network": {
            "model": config.model,
            "num_classes": len(split.classes),
            "channels": len(split.mean),
        },
        "classes": split.classes,
        "images": shape[1:],  # channels, height and width, before pooling
        "size": config.image_size,
        "pool": config.pool,
        "mean": split.mean,
        "std": split.std,
        "columns": split.columns,
        "run_id": config.run_id,
    }


def _epoch(
    config: RunConfig,
    epoch: int,
    method: Method,
    loader: DeviceLoader,
    target_weights: torch.Tensor,
    statistics: WeightStatistics,
    bar: Progress,
    until: float | None,
    record: CudaGraph | None,
    rank: int,
) -> tuple[float, float | None]:
    """One pass over the training set → mean train loss (an example) and mean meta loss (a step), in
    nats."""
    for learner in method.learners:
        learner.model.train()
    target_weights.fill_(torch.nan)
    # dropout, of each process's part
    torch.manual_seed(torch_seed(config.seed, "layers", epoch) + rank)
    train_losses, meta_losses = [], []
    step = Captured(method.step, record) if record is not None else method.step
    steps, begun = -(-len(loader.train) // config.batch_size), time.monotonic()
    # the first steps tell little of the others: kernels are chosen, or recorded
    warm = min(10, steps // 4)
    for done, batch in enumerate(loader.batches(epoch)):
        if until is not None:
            now = time.monotonic()
            begun = now if done == warm else begun
            # seconds a step
            pace = (now - begun) / (done - warm) if done > warm and done >= 2 * warm else 0.0
            if now + pace * (steps - done) > until:
                left = f"; an epoch takes about {pace * steps:.0f} s" if pace else ""
                raise OutOfTime(
                    f"stopped in time during epoch {epoch + 1} of {config.total_epochs}, not "
                    f"kept{left}"
                )
        outcome, index = step(batch), batch.index
        train_losses.append(outcome.train_loss.detach() * len(index))
        if outcome.meta_loss is not None:
            # a captured step writes the next one there
            meta_losses.append(outcome.meta_loss.detach().clone())
        if outcome.target_weights is not None:
            target_weights[index] = outcome.target_weights.detach()
        statistics.update(outcome, index)
        bar.step()
    method.check()
    meta_loss = float(torch.stack(meta_losses).mean()) if meta_losses else None
    return float(torch.stack(train_losses).sum()) / len(loader.train), meta_loss
