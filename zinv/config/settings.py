"""Settings that belong to no part: of a run as a whole, of its devices, its loading and its logger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from zinv.values import Count, Positive, Whole

DRAWS: Final = ("mean", "random", "best_of_k")
"""Starts that a space draws."""

ENCODER: Final = "encoder"
"""The start that the latent encoder of generator and space gives."""


@dataclass(frozen=True)
class RunSettings:
    """What a run has besides its parts.

    Args:
        name: what tables call the row; parts name it where there is none.
        seed: with an image's id, the seed of all its random draws.
        runs: folder that run folders are in.
        trace: keep each loss term every so many steps in a side file; 0 keeps none.
        start: where descents begin: the folder of a run whose inversions this one goes on from, or `encoder`, the code
            of the latent encoder for this generator and space, or such an encoder's weight file. `start=mean`,
            `start=random` and `start=best_of_k` are short for `space.start=…`.
    """

    name: str | None = None
    seed: int = 0
    runs: str = "runs"
    trace: Whole = 0
    start: str | None = None


@dataclass(frozen=True)
class LoaderSettings:
    """How images are loaded; every data source has these beside its own arguments. They change no result.

    Args:
        batch_size: images inverted at a time on each device; `auto`: as many as fit into free memory, 32 at most.
            Whatever it is, a batch that does not fit is halved.
        num_workers: processes that load images; 0 loads in the main process.
    """

    batch_size: Count | Literal["auto"] = 1
    num_workers: Whole = 0


@dataclass(frozen=True)
class TrainerSettings:
    """Devices of a Lightning Trainer.

    Args:
        accelerator: kind of device.
        devices: devices on each node, or all of them.
        num_nodes: machines.
        strategy: "ddp" also where there is one device.
    """

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: Count | Literal["auto"] = 1
    num_nodes: Count = 1
    strategy: Literal["auto", "ddp"] = "auto"


@dataclass(frozen=True)
class RunTrainer(TrainerSettings):
    """Devices of an inversion run.

    Args:
        precision: of synthesis and loss networks while images are inverted; it counts in the name of a run. Codes,
            losses, sums, results and metrics are float32 whatever it is. tf32 is for NVIDIA's GPUs alone.
        step: how a descent's steps are made: operator by operator, replayed as a CUDA graph, or compiled by torch. What
            does not work is done plainly, with a line that says why. It moves numbers by rounding, as devices do.
    """

    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    step: Literal["plain", "graph", "compile"] = "plain"


@dataclass(frozen=True)
class FitTrainer(TrainerSettings):
    """Devices of `zinv train`.

    Args:
        precision: of the arithmetic; "auto" is the model's own.
        checkpoint_minutes: time between checkpoints.
        log_steps: steps between rows of the training log.
    """

    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    checkpoint_minutes: Positive = 5.0
    log_steps: Count = 50


@dataclass(frozen=True)
class LoggerSettings:
    """No logger besides the files of the run folder."""


@dataclass(frozen=True)
class StoreSettings:
    """What is kept of an image's result; it changes no number.

    Args:
        keep: `codes`, from which pictures are made again (`zinv score RUN --pictures`) unless the method keeps no
            weights; `images`, the reconstruction too, which scores are checked against; `all`, the target too.
    """

    keep: Literal["codes", "images", "all"] = "images"


@dataclass(frozen=True)
class ClusterSettings:
    """How a cluster's jobs are asked for. None leaves a choice to the cluster.

    Args:
        partition: or several, with commas.
        account: who pays.
        qos: quality of service.
        gpus: of a job on each node.
        nodes: of a job; with more than one process in all, the job is DDP under srun.
        cpus: of a process.
        memory: of a node, such as `64G`.
        time: limit, `[days-]hours:minutes:seconds`.
        notice: seconds before the limit at which a job is told.
        array_limit: tasks of an array (`MaxArraySize` of the cluster); more jobs are several arrays.
        max_running: tasks of an array that run at a time.
        jobs_per_task: small jobs that one task does one after another.
        whole_node: GPUs of a node, where only whole nodes are given: a task does so many jobs at a time.
        prologue: shell lines before Python, such as `module load cuda`.
        python: the interpreter on the nodes; the one that submits by default.
        flags: more for sbatch.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gpus: Whole = 1
    nodes: Count = 1
    cpus: Count = 4
    memory: str | None = None
    time: str = "24:00:00"
    notice: Whole = 60
    array_limit: Count = 1000
    max_running: Count | None = None
    jobs_per_task: Count = 1
    whole_node: Whole = 0
    prologue: tuple[str, ...] = ()
    python: str | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class WandbSettings(LoggerSettings):
    """Weights & Biases, online or into an offline folder that `wandb sync` uploads later.

    Args:
        project: W&B project.
        entity: user or team; the account's default if null.
        group: runs of one group are shown together; an experiment's name by default.
        mode: "offline" on machines without internet.
    """

    project: str = "zinv"
    entity: str | None = None
    group: str | None = None
    mode: Literal["online", "offline", "disabled"] = "online"
