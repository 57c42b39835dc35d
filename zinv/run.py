"""One run, end to end: wire the parts, invert what is not finished, score it, write records and table."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from zinv.altering.images import edit_images, edit_info
from zinv.arithmetic import check_precision, precision
from zinv.chain import Start, Startable, find_start
from zinv.config import Config, build, compose, identity, run_folder, short_name
from zinv.config.settings import RunTrainer
from zinv.data.base import DataSource
from zinv.data.loading import ImageModule, Shared
from zinv.devices import choose
from zinv.editing.edits import Plan
from zinv.editing.moves import Move
from zinv.errors import ConfigError, DataError
from zinv.evaluation import provenance
from zinv.evaluation.claims import Claims
from zinv.evaluation.edits import TABLES, merge_edits
from zinv.evaluation.effects import effect_tables
from zinv.evaluation.formats import to_terminal
from zinv.evaluation.layers import layer_sheet
from zinv.evaluation.records import ProtocolInfo
from zinv.evaluation.rows import Row
from zinv.evaluation.scores import merge_records
from zinv.evaluation.store import Run, sampled
from zinv.evaluation.table import make_table
from zinv.images import pixels_sha256
from zinv.inverting import StoreWriter, quiet, stoppable
from zinv.methods.base import Inverter
from zinv.methods.fitting import images_that_fit
from zinv.metrics.protocol import Protocol
from zinv.ranks import Ranks, forget_peak, peak_memory
from zinv.scoring import score_images

NUM_DRAWN: Final = 8


@dataclass(frozen=True)
class Parts:
    """What a configuration is built into."""

    config: Config
    source: DataSource
    method: Inverter
    protocol: Protocol
    start: Start | None = None
    plan: Plan | None = None


def evaluate(overrides: Sequence[str], keep: bool = False, fresh: bool = False, base: Config | None = None) -> int:
    """Invert, score and print a table; the same command again resumes.

    Args:
        overrides: `key=value`.
        keep: keep finished images although the code has changed.
        fresh: delete the run folder first.
        base: a configuration that the overrides change.

    Returns:
        0, or 1 if an image has no result.
    """
    return evaluate_config(compose(overrides, base), keep, fresh)


def evaluate_config(
    config: Config, keep: bool = False, fresh: bool = False, group: str | None = None, shard: tuple[int, int] = (0, 1)
) -> int:
    """The same for a resolved configuration.

    Args:
        config: resolved.
        keep: keep finished images although the code has changed.
        fresh: delete the run folder first.
        group: name of the experiment that the run belongs to.
        shard: which of how many equal parts of the images to do.
    """
    parts = build_parts(config, find_start(config))
    path = run_folder(config)
    ranks = Ranks.from_environment()
    if ranks.first:
        _create(path, parts, keep, fresh)
    own = list(parts.source.ids[shard[0] :: shard[1]])
    done = invert(path, parts, own)
    score_images(Run.open(path), parts.source, parts.method, parts.protocol, done, own)
    if parts.plan:
        edit_images(Run.open(path), parts.source, parts.method, parts.plan, parts.protocol, done, own)
    done.barrier()
    return finish(path, parts, group, own) if done.first else 0


def build_parts(config: Config, start: Start | None = None) -> Parts:
    """The parts of a configuration, checked against one another."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    generator = build(config, "generator")
    space, loss, source = build(config, "space"), build(config, "loss"), build(config, "data")
    source.match(generator.resolution)
    method = build(config, "method", generator=generator, space=space, loss=loss)
    if start and not method.descends:
        raise ConfigError(f"start={config['start']}: method={config['method']['_name_']} has no descent to start.")
    if start:
        start.prepare(generator, space)
    method.seed, method.trace_every, method.start = config["seed"], config["trace"], start
    method.precision, method.step_by = config["trainer"]["precision"], config["trainer"]["step"]
    method.images = Startable(source, start)
    protocol = build(config, "protocol")
    return Parts(config, source, method, protocol, start, _plan(config, method, protocol))


def _plan(config: Config, method: Inverter, protocol: Protocol) -> Plan | None:
    """The edits of a run, checked before anything is inverted."""
    if "direction" not in config:
        return None
    view = method.view()
    plan: Plan = build(config, "direction").plan(method.space, method.generator, view)
    method.check_move(Move((plan.edits[0].at(1.0),), plan.rule), view)
    edit_info(plan, protocol)
    return plan


def settings(parts: Parts) -> dict[str, str | int | list[str] | None]:
    """What tables print of a run, and what must agree within one."""
    config, method = parts.config, parts.method
    return {
        "name": config["name"],
        "label": method.label,
        "method": short_name(config["method"]),
        "space": method.space.label,
        "generator": short_name(config["generator"]),
        "num_steps": method.num_steps,
        "scalars": method.num_scalars(),
        "precision": config["trainer"]["precision"],
        "seed": config["seed"],
        "loss_networks": list(method.loss.networks()),
        "remark": parts.source.remark,
        **method.settings(),
        **({"start": parts.start.name} if parts.start else {}),
    }


def _create(path: Path, parts: Parts, keep: bool, fresh: bool) -> None:
    code = provenance.code_digest(foreign_modules(parts.config))
    content = {**identity(parts.config), **parts.method.found(), **(parts.start.found() if parts.start else {})}
    run = Run.create(path, parts.config, content, settings(parts), code, keep, fresh)
    finished = run.finished()
    place = {name: i for i, name in enumerate(parts.source.ids)}
    for name in sampled([name for name in parts.source.ids if name in finished]):
        try:
            run.check_target(name, pixels_sha256(parts.source.image(place[name])))
        except DataError:
            continue  # unreadable now; its result stands
    lacking = parts.start.lacking(parts.source.ids) if parts.start else {}
    for name in lacking.keys() - finished:
        run.fail(name, lacking[name], "start")


def foreign_modules(config: Config) -> set[str]:
    """Modules outside zinv that a configuration names by dotted choices: their code counts too."""
    targets = [entry["_target_"] for entry in config.values() if isinstance(entry, dict) and "_target_" in entry]
    members = [*config["loss"]["terms"], *config["protocol"].get("metrics", ())]
    modules = {str(name).rpartition(".")[0] for name in (*targets, *members) if "." in str(name)}
    return {name for name in modules if name.partition(".")[0] != "zinv"}


def invert(path: Path, parts: Parts, ids: Sequence[str]) -> Ranks:
    """Invert those of the images that are not finished, on all devices; returns the processes that did.

    Other runs may be at work in the same folder: each image is done by one of them; this one ends when all are done.
    """
    quiet()
    data, writer = parts.config["data"], StoreWriter(path, parts.source, parts.config["store"]["keep"])
    trainer = _trainer(build(parts.config, "trainer"), writer)
    lacking = parts.start.lacking(parts.source.ids).keys() if parts.start else set()
    run, claims, others = Run(path), Claims(path), set(parts.source.ids) - set(ids)
    shared = Shared(claims.take, partial(run.is_done, before=run.stamps()))
    size = (lambda: fitting_batch(parts)) if data["batch_size"] == "auto" else data["batch_size"]
    module = ImageModule(parts.source, lambda: run.finished() | lacking | others, size, data["num_workers"], shared)
    check_devices(trainer.world_size, len(parts.source))
    check_precision(parts.method.precision, trainer.strategy.root_device)
    started = time.monotonic()
    forget_peak(trainer.strategy.root_device)
    with stoppable(), claims.held():
        trainer.predict(parts.method, datamodule=module, return_predictions=False)
    ranks = Ranks(trainer.global_rank, trainer.world_size, trainer.strategy.root_device)
    parts.method.to(ranks.device)
    counts, memory = ranks.gather(writer.count), ranks.gather(peak_memory(ranks.device))
    inverted, seconds = sum(ranks.gather(writer.inverted)), sum(ranks.gather(writer.seconds))
    if ranks.first:
        Run.open(path).note(
            ranks=counts,
            peak_memory_bytes=memory,
            device=device_name(ranks.device),
            wall_seconds=round(time.monotonic() - started, 3),
            seconds_per_image=round(seconds / inverted, 3) if inverted else None,
        )
    return ranks


def fitting_batch(parts: Parts) -> int:
    """The batch size that `auto` stands for; says so in one line."""
    side = parts.source.resolution or parts.method.generator.resolution
    target = torch.zeros(1, 3, side, side, device=parts.method.generator.w_avg.device)
    with precision(parts.method.precision):
        size = images_that_fit(parts.method, target)
    print(f"data.batch_size=auto: up to {size} images at a time.", file=sys.stderr)
    return size


def _trainer(settings: RunTrainer, writer: L.Callback) -> L.Trainer:
    """A Trainer for inversion.

    Raises:
        ConfigError: this machine has no such devices.
    """
    try:
        return L.Trainer(
            accelerator=choose(settings.accelerator),
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=settings.strategy,
            callbacks=[writer],
            logger=False,
            inference_mode=False,  # descent needs gradients
            use_distributed_sampler=False,  # it pads
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except MisconfigurationException as error:
        raise ConfigError(f"trainer.accelerator={settings.accelerator}: {error}") from error


def finish(path: Path, parts: Parts, group: str | None, ids: Sequence[str]) -> int:
    """Write records and table, report, and tell which of the images failed.

    Jobs that share the images of a run leave records and reports to the last of them: they read each image's files.
    """
    from zinv.evaluation.report import report

    run, info = Run.open(path), ProtocolInfo.of(parts.protocol)
    if left := set(parts.source.ids) - run.finished() - run.failed() - set(ids):
        print(f"{path}: {len(left)} images are left to other jobs, the last of which writes the records.")
        return 1 if run.failed() & set(ids) else 0
    records = merge_records(run, info, parts.source.ids)
    if parts.plan:
        edits = merge_edits(run, edit_info(parts.plan, parts.protocol), parts.source.ids)
        if len(others := [*(path / TABLES).glob("*.csv")]) > 1:
            print(f"{edits}: the edits asked for now, one of {len(others)} kinds in {path / TABLES}.")
    finished, failed = run.finished(), sorted(run.failed() & set(ids))
    if finished & set(ids):
        rows = [Row.read(records)]
        for drawn in (make_table(rows), *effect_tables(rows).values()):
            print(to_terminal(drawn))
    for name in failed[:10]:
        print(f"failed: {name}: {run.result(name)['reason']}")
    draw_layers(run, parts.source)
    report(run, build(parts.config, "logger"), info, group, parts.source)
    Claims(path).clear(finished)
    print(path)
    return 1 if failed else 0


def draw_layers(run: Run, source: DataSource) -> None:
    """Draw the first images of a run that chose layers, as `layers.png` in its folder."""
    finished = run.finished()
    try:
        sheet = layer_sheet(run, source, [name for name in source.ids if name in finished][:NUM_DRAWN])
    except DataError:
        return  # a target that is unreadable now
    if sheet:
        sheet.save(run.path / "layers.png")


def check_devices(num_devices: int, num_images: int) -> None:
    """More processes than images is a mistake."""
    if num_devices > num_images:
        raise DataError(f"trainer.devices={num_devices}: there are only {num_images} images.")


def device_name(device: torch.device) -> str:
    """What `run.json` says of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"
