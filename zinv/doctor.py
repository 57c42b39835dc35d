"""`zinv doctor`: what this machine, or this job, has of what a run needs, and how to mend the rest."""

from __future__ import annotations

import netrc
import os
import platform
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from zinv import __version__, devices, weights
from zinv.config import compose
from zinv.download import size_text
from zinv.errors import ConfigError, WeightsError
from zinv.fetch import needs
from zinv.published import PUBLISHED

LOW_SPACE: Final = 1_000_000_000
WANDB_HOST: Final = "https://api.wandb.ai"
CONNECT_SECONDS: Final = 3.0


class Finding(NamedTuple):
    """One line of the report; a broken one says how to mend it."""

    ok: bool
    subject: str
    text: str

    def __str__(self) -> str:
        """As it is printed."""
        return f"{'ok' if self.ok else 'broken':6}  {self.subject}: {self.text}"


def doctor(overrides: Sequence[str] = (), experiment: str | None = None) -> int:
    """Look at everything that a run needs, and print a line for each.

    Args:
        overrides: `trainer=…`, `logger=…` and `runs=…` of the runs that are meant.
        experiment: whose weight files must be there.

    Returns:
        0, or 1 if something is broken.
    """
    for text in overrides:
        if text.partition("=")[0].partition(".")[0] not in ("trainer", "logger", "runs"):
            raise ConfigError(f"{text}: zinv doctor takes trainer, logger and runs.")
    config = compose(overrides, groups=("trainer", "logger"))
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        software,
        lambda: gpus(config["trainer"]),
        lambda: weight_files(experiment),
        lambda: runs_folder(Path(config["runs"])),
        lambda: slurm(config["trainer"]),
        lambda: wandb(config["logger"]),
    )
    broken = 0
    for finding in (finding for check in checks for finding in check()):
        print(f"{task_name()}{finding}", flush=True)
        broken += not finding.ok
    return 1 if broken else 0


def task_name() -> str:
    """Which of the processes of `srun` this is, before its lines: `node7 1/4  `."""
    if "SLURM_STEP_ID" not in os.environ or os.environ.get("SLURM_NTASKS", "1") == "1":
        return ""
    return f"{socket.gethostname()} {os.environ.get('SLURM_PROCID')}/{os.environ['SLURM_NTASKS']}  "


def software() -> Iterator[Finding]:
    """Versions, and whether the build of torch fits the driver."""
    import torch

    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "torchmetrics"))
    yield Finding(True, "software", f"zinv {__version__}, Python {platform.python_version()}, {libraries}")
    built, found = torch.version.cuda, devices.driver()
    if torch.version.hip is not None:
        yield Finding(True, "torch", f"built for ROCm {torch.version.hip}")
    elif found is None:
        yield Finding(True, "torch", f"built {f'for CUDA {built}' if built else 'without CUDA'}; no NVIDIA driver here")
    elif built is None:
        newest = ".".join(map(str, found.cuda))
        mend = "https://pytorch.org/get-started/locally names the build to install"
        yield Finding(False, "torch", f"built without CUDA, but the driver runs CUDA {newest}; {mend}")
    else:
        yield _fit(built, found.cuda)


def _fit(built: str, newest: tuple[int, int]) -> Finding:
    """A driver runs builds of its own major version of CUDA and of older ones."""
    text = f"built for CUDA {built}; the driver runs CUDA {newest[0]}.{newest[1]}"
    if int(built.partition(".")[0]) <= newest[0]:
        return Finding(True, "torch", text)
    return Finding(False, "torch", f"{text}: update the driver, or install a torch built for CUDA {newest[0]}")


def gpus(trainer: Mapping[str, Any]) -> Iterator[Finding]:
    """The GPUs that torch sees, each with a kernel run on it, and what a run would take."""
    import torch

    count = torch.cuda.device_count()
    for i in range(count):
        facts = torch.cuda.get_device_properties(i)
        name = f"{facts.name}, {size_text(facts.total_memory)}"
        reason = devices.cuda_failure(i)
        mend = "install a torch that was built for it, or hide it with CUDA_VISIBLE_DEVICES"
        yield Finding(reason is None, f"GPU {i}", name if reason is None else f"{name}: {reason}; {mend}")
    if count == 0:
        mps = "; trainer=auto trainer.accelerator=mps uses Apple's" if torch.backends.mps.is_available() else ""
        yield Finding(True, "GPU", f"torch sees none{mps}")
    yield _device(trainer, count)


def _device(trainer: Mapping[str, Any], count: int) -> Finding:
    """What a run with these settings takes."""
    wanted = trainer["devices"]
    try:
        chosen, reason = devices.decide(trainer["accelerator"])
    except ConfigError as error:
        mend = "ask SLURM for one, in srun's own --gres too, or mend what is broken above; trainer=cpu needs none"
        return Finding(False, "device", f"{str(error).partition(' `zinv')[0]} Mend: {mend}")
    if chosen == "cuda" and wanted != "auto" and wanted > count:
        return Finding(
            False, "device", f"trainer.devices={wanted}, but torch sees {count}: take {count} or ask for more"
        )
    return Finding(True, "device", f"a run takes {chosen}{f' ({reason})' if reason else ''}")


def weight_files(experiment: str | None) -> Iterator[Finding]:
    """Weight files of zinv and of others, or those that an experiment reads."""
    names = [*needs(experiment, ())] if experiment else [*PUBLISHED, *_shipped()]
    found = {name: path for name in names if (path := weights.locate(name))}
    for name, path in found.items():
        try:
            weights.check_published(name, path)
        except WeightsError as error:
            yield Finding(False, "weights", str(error))
    missing = [name for name in names if name not in found]
    counts = f"{len(found)} of {len(names)} files{f' of {experiment}' if experiment else ''} are here"
    if experiment and missing:
        mend = f"`zinv weights fetch --for {experiment}`"
        yield Finding(False, "weights", f"{counts}; missing: {', '.join(missing)}. {mend} gets them or says how")
    else:
        yield Finding(True, "weights", f"{counts}{'; `zinv weights` lists them' if missing else ''}")


def _shipped() -> list[str]:
    files = weights.SHIPPED.rglob("*.safetensors")
    return sorted(file.relative_to(weights.SHIPPED).with_suffix("").as_posix() for file in files)


def runs_folder(folder: Path) -> Iterator[Finding]:
    """Whether results can be written into the runs folder and renamed there."""
    new = next((parent for parent in (folder, *folder.parents) if parent.exists()), Path("."))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_and_rename(folder)
    except OSError as error:
        mend = "choose another with runs=FOLDER"
        yield Finding(False, "runs", f"{folder.absolute()}: cannot be written to ({error.strerror or error}); {mend}")
        return
    finally:
        _remove_new(folder, new)
    free = shutil.disk_usage(new).free
    text = f"{folder.absolute()}: written, synced and renamed; {size_text(free)} free"
    yield Finding(free >= LOW_SPACE, "runs", text + ("" if free >= LOW_SPACE else "; make room"))


def _write_and_rename(folder: Path) -> None:
    """As a result is written: a file in a new folder, synced, and the folder renamed."""
    with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as place:
        before, after = Path(place) / "before", Path(place) / "after"
        before.mkdir()
        with (before / "result.json").open("w") as file:
            file.write("{}")
            file.flush()
            os.fsync(file.fileno())
        before.rename(after)
        (after / "result.json").read_text()


def _remove_new(folder: Path, before: Path) -> None:
    """Remove the empty folders that were made below `before`."""
    while folder != before and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def slurm(trainer: Mapping[str, Any]) -> Iterator[Finding]:
    """The job that this process is in, and whether its tasks are what the trainer's settings make of them."""
    said = os.environ
    if "SLURM_JOB_ID" not in said:
        here = "jobs can be submitted" if shutil.which("sbatch") else "not on this machine"
        yield Finding(True, "SLURM", f"not in a job; {here}")
        return
    tasks, step = int(said.get("SLURM_NTASKS", "1")), said.get("SLURM_STEP_ID")
    where = f"step {step}, task {said.get('SLURM_PROCID', '0')}" if step else "not under srun"
    text = f"job {said['SLURM_JOB_ID']}, {where} of {tasks}, {devices.given() or 'no GPU given'}"
    interactive = said.get("SLURM_JOB_NAME") in ("bash", "interactive")
    wrong = "" if interactive or tasks == 1 else _wrong_tasks(tasks, step, trainer)
    yield Finding(not wrong, "SLURM", f"{text}: {wrong}" if wrong else text)


def _wrong_tasks(tasks: int, step: str | None, trainer: Mapping[str, Any]) -> str:
    """What Lightning would stumble over, which takes its processes from the tasks of `srun`."""
    each, nodes = os.environ.get("SLURM_NTASKS_PER_NODE"), os.environ.get("SLURM_NNODES", "1")
    if step is None:
        return "a run would wait for the other tasks for ever; start it with srun, or name the job interactive"
    if each is None:
        return "Lightning wants --ntasks-per-node, not --ntasks alone"
    if trainer["devices"] != "auto" and trainer["devices"] * trainer["num_nodes"] != tasks:
        own = trainer["devices"] * trainer["num_nodes"]
        share = f"trainer=ddp trainer.devices={each} trainer.num_nodes={nodes}"
        return f"the trainer has {own} of {tasks} processes; run it with {share}"
    return ""


def wandb(logger: Mapping[str, Any]) -> Iterator[Finding]:
    """Where a run would report to."""
    if "mode" not in logger:
        yield Finding(True, "W&B", "not asked for (logger=none)")
        return
    mode = os.environ.get("WANDB_MODE") or logger["mode"]
    source = "WANDB_MODE" if os.environ.get("WANDB_MODE") else "logger.mode"
    if mode != "online":
        later = "; `wandb sync` uploads it later" if mode == "offline" else ""
        yield Finding(True, "W&B", f"{source}={mode}{later}")
        return
    host = urlsplit(os.environ.get("WANDB_BASE_URL", WANDB_HOST)).hostname or ""
    without = "or take logger.mode=offline and `wandb sync` later"
    if not (os.environ.get("WANDB_API_KEY") or _has_login(host)):
        yield Finding(False, "W&B", f"online, but without a key: `wandb login`, {without}")
    elif not _answers(host):
        yield Finding(False, "W&B", f"online, but {host} does not answer: {without[3:]}")
    else:
        yield Finding(True, "W&B", f"online; {host} answers and there is a key")


def _has_login(host: str) -> bool:
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _answers(host: str) -> bool:
    try:
        with socket.create_connection((host, 443), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False
