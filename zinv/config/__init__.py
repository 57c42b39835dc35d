"""One configuration language: `key=value` overrides, presets, and constructors as the schema."""

from zinv.config.build import build
from zinv.config.compose import Config, compose, load, save, stored, to_yaml
from zinv.config.experiment import (
    Experiment,
    as_overrides,
    expand,
    experiment_names,
    find_experiment,
    layer,
    missing_needs,
)
from zinv.config.identity import identity, run_folder, run_id, short_name, slug
from zinv.config.schema import RUN_GROUPS, TRAIN_GROUPS
from zinv.presets import preset_folders, preset_names

__all__ = [
    "RUN_GROUPS",
    "TRAIN_GROUPS",
    "Config",
    "Experiment",
    "as_overrides",
    "build",
    "compose",
    "expand",
    "experiment_names",
    "find_experiment",
    "identity",
    "layer",
    "load",
    "missing_needs",
    "preset_folders",
    "preset_names",
    "run_folder",
    "run_id",
    "save",
    "short_name",
    "slug",
    "stored",
    "to_yaml",
]
