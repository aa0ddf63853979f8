"""Weights to start from that somebody else has trained."""

import hashlib
from pathlib import Path

import torch

from gdwlib.data.errors import DataError


def imagenet_weights() -> dict[str, torch.Tensor]:
    """torchvision's ImageNet weights of ResNet-18 but for the last layer, downloaded once into
    PyTorch's cache.

    Raises:
        DataError: not there and not to be downloaded, or another file than torchvision publishes
            (which is not opened).
    """
    import torchvision  # takes seconds, and is seldom needed

    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    prefix = path.stem.rsplit("-", 1)[1]  # of its SHA-256 sum
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix, progress=False)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"pretrained: the ImageNet weights could not be downloaded ({reason}); put "
                f"{path.name} from {url} into {path.parent}, or train from random weights with "
                "--no-pretrained"
            ) from error
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(prefix):
        found = f"SHA-256 {digest[:8]}…, expected {prefix}…"
        raise DataError(f"{path}: altered or truncated ({found}); delete it and try again")
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: value for name, value in state.items() if not name.startswith("fc.")}
