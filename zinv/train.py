"""`zinv train`: wire a model from its configuration, and fit it in its run folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from zinv.config import TRAIN_GROUPS, Config, build, compose, run_id, save, slug
from zinv.config.settings import FitTrainer, WandbSettings
from zinv.errors import ConfigError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger


def train(overrides: Sequence[str], fresh: bool = False) -> int:
    """Train `model=NAME` in `runs/train/<name>-<8 hex>`; the same command again goes on from the last checkpoint.

    Args:
        overrides: `key=value`.
        fresh: begin anew, without what the folder has.

    Returns:
        The exit status.
    """
    config = compose(overrides, {"trainer": "fit"}, TRAIN_GROUPS)
    settings = build(config, "trainer")
    if not isinstance(settings, FitTrainer):
        raise ConfigError(f"trainer={config['trainer']['_name_']}: for inversion runs; zinv train takes trainer=fit.")
    parts = {group: build(config, group) for group in ("generator", "loss") if group in config}
    model = build(config, "model", **parts)
    folder = training_folder(config)

    from lightning.fabric.utilities.rank_zero import rank_zero_only

    from zinv.training.fit import fit

    is_first = getattr(rank_zero_only, "rank", 0) == 0
    if is_first:
        if fresh:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        save(config, folder / "config.yaml")
    file = fit(model, folder, **asdict(settings), logger=_logger(config, folder))
    if is_first:
        print(file)
    return 0


def training_folder(config: Config) -> Path:
    """`runs/train/<name>-<8 hex>` of a configuration."""
    return Path(config["runs"]) / "train" / f"{slug(config)}-{run_id(config)}"


def _logger(config: Config, folder: Path) -> Logger | None:
    settings = build(config, "logger")
    if not isinstance(settings, WandbSettings) or settings.mode == "disabled":
        return None
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(
        name=folder.name,
        id=folder.name,  # kept over restarts, so that they are one run
        save_dir=folder,
        project=settings.project,
        entity=settings.entity,
        group=settings.group,
        offline=settings.mode == "offline",
        resume="allow",
    )
