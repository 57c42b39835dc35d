"""The card of a trained network: how it was made and how good it was measured to be."""

from __future__ import annotations

import inspect
import json
import platform
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import lightning
import torch

import zinv
from zinv import weights
from zinv.training.base import Trainee

Card = Mapping[str, "str | int | float | Mapping[str, float]"]


@torch.no_grad()
def card(trainee: Trainee, file: Path, seconds: float, devices: int, precision: str) -> Card:
    """Facts about a finished training and the weight file that it wrote."""
    tensors, metadata = weights.read(file)
    return {
        "name": trainee.name,
        "what": (inspect.getdoc(type(trainee)) or "").split("\n\n")[0],
        "kind": metadata.get("kind", ""),
        "file": file.name,
        "sha256": weights.sha256(file),
        "bytes": file.stat().st_size,
        "parameters": sum(x.numel() for x in tensors.values()),
        "command": shlex.join(["zinv", *sys.argv[1:]]),
        "seed": trainee.seed,
        "steps": trainee.num_steps,
        "batch_size": trainee.batch_size,
        "precision": precision,
        "hardware": f"{devices} x {_hardware(trainee.device)}",
        "hours": round(seconds / 3600, 2),
        "versions": f"zinv {zinv.__version__}, torch {torch.__version__}, lightning {lightning.__version__}",
        "measured": {name: round(value, 4) for name, value in trainee.measure().items()},
    }


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU process of {torch.get_num_threads()} threads ({platform.machine()})"


def markdown(facts: Card) -> str:
    """A card as a Markdown page.

    >>> print(markdown({"name": "n", "what": "A net.", "seed": 0, "measured": {"auc": 0.99}}))
    # n
    <BLANKLINE>
    A net.
    <BLANKLINE>
    | fact | value |
    |---|---|
    | seed | 0 |
    <BLANKLINE>
    | measured | value |
    |---|--:|
    | auc | 0.99 |
    <BLANKLINE>
    """
    measured = facts["measured"]
    assert isinstance(measured, Mapping)
    plain = [f"| {name} | {value} |" for name, value in facts.items() if name not in ("name", "what", "measured")]
    quality = [f"| {name} | {value:.4g} |" for name, value in measured.items()]
    head = [f"# {facts['name']}", "", str(facts["what"]), ""]
    return "\n".join(
        [*head, "| fact | value |", "|---|---|", *plain, "", "| measured | value |", "|---|--:|", *quality, ""]
    )


def write(facts: Card, folder: Path) -> None:
    """Write `card.json` and `card.md` into a folder."""
    (folder / "card.md").write_text(markdown(facts))
    temporary = folder / ".card.json"
    temporary.write_text(json.dumps(facts, indent=1) + "\n")
    temporary.replace(folder / "card.json")
