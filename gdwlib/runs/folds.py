"""What networks say of training examples that they have not been trained on."""

import dataclasses

import numpy as np
import torch

from gdwlib.data import Images, Split
from gdwlib.data.randomness import rng
from gdwlib.runs.config import RunConfig
from gdwlib.runs.loading import make_loader
from gdwlib.runs.machine import ieee_float32
from gdwlib.runs.training import ONE_RUN, build_method

FOLDS = 5


def out_of_fold(config: RunConfig, split: Split, with_trusted: bool = False) -> np.ndarray:
    """Probabilities (N, C) of the training examples: of each by the one of five networks, trained
    as `config` says, that has not seen it. with_trusted: the trusted examples are trained on as
    well, for methods that make no use of a meta set."""
    count = len(split.given)
    fold_of = rng(config.seed, "folds").permutation(count) % FOLDS
    probs = np.empty((count, len(split.classes)))
    for fold in range(FOLDS):
        out, rest = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        part, given = split.train.take(rest), split.given[rest]
        if with_trusted:
            images, labels, ids = (
                np.concatenate([getattr(of, name) for of in (part, split.meta)])
                for name in ("images", "labels", "ids")
            )
            part, given = Images(images, labels, ids), np.concatenate([given, split.meta.labels])
        held_out = split.train.take(out)
        here = dataclasses.replace(split, train=part, given=given, test=held_out)
        with ONE_RUN, ieee_float32(), torch.random.fork_rng():
            probs[out] = _trained_on(config, here)
    return probs


def _trained_on(config: RunConfig, split: Split) -> np.ndarray:
    """One training, of which nothing is kept → probabilities (n, C) of the test examples."""
    loader = make_loader(config, split, config.torch_device())
    model, method = build_method(config, split, loader)
    for epoch in range(config.total_epochs):
        method.start_epoch(epoch)
        for learner in method.learners:
            learner.model.train()
        for batch in loader.batches(epoch):
            method.step(batch)
    method.check()
    return loader.probabilities(model, loader.test)
