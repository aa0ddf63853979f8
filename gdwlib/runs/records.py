"""The files of a run, and who may write them.

    outputs/runs/<run_id>/
      config.json     {"config": every field of RunConfig, "environment": versions, device, …, and
                      in "earlier" those in which its first epochs were trained, where they differ}
      metrics.jsonl   a line for each epoch
      examples.npz    per training example: id, given label, true label, last ω_t
      model.pt        the trained network; weight_net.pt the weighting network, where there is one
      model.json      which network that is, its classes, and how its input is prepared
      checkpoint.pt   while running
      diverged.json   where it ended in NaN or infinity: why
      confusion.csv   on one's own data with a test set: how many of each class are taken for which
      result.json     written last: its presence means "complete"; the others' SHA-256 sums

Everything is written beside its place and moved there, so that a file is either whole or absent.
Percentages are percent; keys that differ from run to run end in `seconds` or `per_second`; a value
that does not exist is null.
"""

import csv
import dataclasses
import io
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gdwlib.data.own.spelling import plain
from gdwlib.models import MODELS, WeightNet
from gdwlib.runs.files import RecordError, read_file


@dataclasses.dataclass(frozen=True, repr=False)
class RunRecord:
    """A complete run, read from its files."""

    path: Path
    config: dict  # as in config.json: every field of RunConfig
    environment: dict
    metrics: list[dict]  # one for each epoch
    result: dict

    def __repr__(self) -> str:
        return f"RunRecord({self.path.name}: {len(self.metrics)} epochs, {self.accuracy_text})"

    @property
    def final_accuracy(self) -> float | None:
        """Mean test accuracy over the last min(5, epochs) epochs, percent; None where there is no
        test set."""
        return self.result["final_accuracy"]

    @property
    def accuracy_text(self) -> str:
        """The final accuracy as text."""
        return "no test set" if self.final_accuracy is None else f"{self.final_accuracy:.2f}%"

    @cached_property
    def examples(self) -> dict[str, np.ndarray]:
        """Arrays (N,) by name: ids, given_labels, true_labels, and target_weights ω_t (NaN where
        there are none)."""
        with np.load(self.path / "examples.npz", allow_pickle=False) as arrays:
            return dict(arrays)

    @cached_property
    def confusion(self) -> tuple[list[str], np.ndarray] | None:
        """The classes, and how many test examples of each (row) the trained network takes for each
        (column), (C, C); of runs on one's own data that have a test set, else None."""
        path = self.path / "confusion.csv"
        if not path.is_file():
            return None
        (_, *classes), *rows = csv.reader(path.read_text().splitlines())
        classes = [plain(name) for name in classes]
        return classes, np.array([row[1:] for row in rows], dtype=int)

    def model(self, num_classes: int, channels: int) -> nn.Module:
        """The trained network, in eval mode. FileNotFoundError where the record came without
        model.pt."""
        about = {"model": self.config["model"], "num_classes": num_classes, "channels": channels}
        return load_network(self.path, about)

    def weight_net(self) -> WeightNet:
        """The trained weighting network of a method that has one."""
        net = WeightNet()
        _loaded(net, self.path / "weight_net.pt")
        return net


def load_network(folder: Path, about: dict) -> nn.Module:
    """The network of a folder's model.pt, in eval mode, as `about` says: its model, num_classes and
    channels."""
    try:
        with torch.device("meta"):  # of no memory: what it takes is decided by the file
            network = MODELS[about["model"]](about["num_classes"], about["channels"])
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise RecordError(
            f"{folder}: names a network that there cannot be ({type(error).__name__})"
        ) from error
    return _loaded(network, folder / "model.pt")


def _loaded(network: nn.Module, path: Path) -> nn.Module:
    """Tensors only: what else a tampered file asks for is refused, not executed."""
    try:
        content = io.BytesIO(read_file(path))
        state = torch.load(content, map_location="cpu", weights_only=True)
        for tensor in state.values():
            dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
            if not dense or tensor.is_complex():
                raise TypeError("not plain numbers")
        network.load_state_dict(state, assign=True)
        network.float()
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    # whatever a damaged or hostile file makes zipfile, pickle or torch raise
    except Exception as error:
        raise RecordError(
            f"{path}: not the weights of this network, and refused without being executed "
            f"({type(error).__name__}); train the run again"
        ) from error
    return network.eval()
