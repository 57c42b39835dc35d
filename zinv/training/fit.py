"""`zinv train`: fit a `Trainee` with Lightning, go on after a kill, export it with its card."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Literal

import lightning as L
import torch
from lightning.pytorch.loggers import Logger

from zinv import weights
from zinv.devices import choose
from zinv.errors import ConfigError
from zinv.training import cards
from zinv.training.base import Precision, Trainee
from zinv.training.callbacks import LAST, Keep, Watch

EXPECTED = (
    "num_workers",
    "IterableDataset",
    "treespec",
    "with no optimizer",
    "sync_dist",
    "tensorboard",
    "in eval mode",
    "Grad strides do not match",
    "The `srun` command is available",
)
"""Words of warnings about what is meant."""


def fit(
    trainee: Trainee,
    folder: Path,
    accelerator: str = "auto",
    devices: int | str = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    precision: Precision | Literal["auto"] = "auto",
    checkpoint_minutes: float = 5.0,
    log_steps: int = 50,
    logger: Logger | None = None,
) -> Path:
    """Train to the end, from `last.ckpt` if the folder has one, and export.

    Args:
        trainee: what to train.
        folder: the run folder.
        accelerator: auto, cpu, gpu or mps.
        devices: on each machine; more than one in all is DDP.
        num_nodes: machines.
        strategy: Lightning's.
        precision: Lightning's; auto is the trainee's own.
        checkpoint_minutes: time between checkpoints.
        log_steps: steps between rows of `training.jsonl`.
        logger: Lightning's, or none.

    Returns:
        The exported safetensors file; `card.md` and `card.json` lie beside it.
    """
    file = folder / f"{trainee.name}.safetensors"
    if (folder / "card.json").is_file():
        return file
    folder.mkdir(parents=True, exist_ok=True)
    _quiet()
    precision = trainee.precision if precision == "auto" else precision
    keep, watch = Keep(folder, checkpoint_minutes), Watch(folder, log_steps)
    trainer = L.Trainer(
        accelerator=choose(accelerator),
        devices=devices,
        num_nodes=num_nodes,
        strategy=_strategy(trainee, strategy, devices, num_nodes),
        precision=precision,
        gradient_clip_val=trainee.max_gradient,
        max_epochs=1,
        logger=logger or False,
        callbacks=[watch, keep],
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    _check_share(trainee, trainer)
    last = folder / LAST
    trainer.fit(trainee.to(memory_format=torch.channels_last), ckpt_path=last if last.is_file() else None)
    if trainer.is_global_zero:
        _export(trainee.to(trainer.strategy.root_device), file)
        cards.write(cards.card(trainee, file, watch.seconds, trainer.world_size, precision), folder)
    trainer.strategy.barrier()
    return file


def _strategy(trainee: Trainee, strategy: str, devices: int | str, num_nodes: int) -> str:
    """DDP must be told where a backward pass reaches one of several networks, as each of a GAN's does."""
    several = strategy == "ddp" or devices != 1 or num_nodes > 1
    return "ddp_find_unused_parameters_true" if several and not trainee.automatic_optimization else strategy


def _check_share(trainee: Trainee, trainer: L.Trainer) -> None:
    if trainee.batch_size % trainer.world_size:
        raise ConfigError(f"model.batch_size={trainee.batch_size}: not a multiple of {trainer.world_size} devices.")


def _export(trainee: Trainee, file: Path) -> None:
    trainee.eval()
    tensors, metadata = trainee.export()
    weights.write(file, tensors, metadata, trainee.stored_half)
    for name, (others, facts) in trainee.side_exports().items():
        weights.write(file.with_name(f"{name}.safetensors"), others, facts, half=True)


def _quiet() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for words in EXPECTED:
        warnings.filterwarnings("ignore", message=f".*{words}")
