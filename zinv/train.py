"""`zinv train`: wire a model from its configuration, and fit it in its run folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from zinv.config import TRAIN_GROUPS, Config, build, compose, run_id, save, slug
from zinv.config.compose import parse_overrides
from zinv.config.settings import FitTrainer, LoaderSettings, WandbSettings
from zinv.errors import ConfigError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

LOADING: Final = frozenset(f"data.{field.name}" for field in fields(LoaderSettings))


def train(overrides: Sequence[str], fresh: bool = False) -> int:
    """Train `model=NAME` in `runs/train/<name>-<8 hex>`; the same command again goes on from the last checkpoint.

    Args:
        overrides: `key=value`.
        fresh: begin anew, without what the folder has.

    Returns:
        The exit status.
    """
    return train_config(configure(overrides), fresh)


def train_config(config: Config, fresh: bool = False) -> int:
    """The same for a resolved configuration."""
    settings = build(config, "trainer")
    if not isinstance(settings, FitTrainer):
        raise ConfigError(f"trainer={config['trainer']['_name_']}: for inversion runs; zinv train takes trainer=fit.")
    parts = {group: build(config, group) for group in ("generator", "space", "loss", "data") if group in config}
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


def configure(overrides: Sequence[str]) -> Config:
    """The configuration of a training; how a run of images loads its data is none of its business.

    Raises:
        ConfigError: it was given.
    """
    for key in LOADING & parse_overrides(overrides).keys():
        raise ConfigError(f"{key}: zinv train loads batches by model.batch_size and model.num_workers.")
    config = compose(overrides, {"trainer": "fit"}, TRAIN_GROUPS)
    if "data" in config:
        config["data"] = {key: value for key, value in config["data"].items() if f"data.{key}" not in LOADING}
    return config


def training_folder(config: Config) -> Path:
    """`runs/train/<name>-<8 hex>` of a configuration; all its pictures count, wherever they lie."""
    pictures = {"pictures": build(config, "data").fingerprint()} if "data" in config else {}
    return Path(config["runs"]) / "train" / f"{slug(config)}-{run_id(config, **pictures)}"


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
