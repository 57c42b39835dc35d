"""`zinv submit` and `zinv retry`: what is left of a plan as arrays of SLURM."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from zinv.cluster import slurm
from zinv.cluster.script import Shape, longer, minutes, script, split, tasks
from zinv.cluster.state import Progress, progress, submissions
from zinv.config import build, compose
from zinv.config.selection import Selection, select
from zinv.config.settings import ClusterSettings
from zinv.errors import ConfigError
from zinv.evaluation.files import clear_errors, read_json, replace_text, to_json
from zinv.jobs import Flags, to_do
from zinv.plans.attempts import REASONS
from zinv.plans.make import choose, freeze, plan_jobs
from zinv.plans.plan import Plan, Planned, current, experiment_folder
from zinv.sweep import declare_contrasts

LIVE: Final = ("done", "running", "queued")
OWNED: Final = {
    **dict.fromkeys(("--time", "-t"), "--time LIMIT or cluster.time=LIMIT"),
    **dict.fromkeys(("--array", "-a"), "--array-limit N or cluster.array_limit=N"),
    "--signal": "cluster.notice=SECONDS",
}
"""Flags of sbatch that are settings, and how those are given."""


@dataclass(frozen=True)
class Order:
    """Jobs that are submitted together, since they ask for the same.

    Attributes:
        jobs: which.
        shape: nodes and processes.
        cluster: what is asked for.
        time: their limit, which may be longer than the cluster's.
        batch_sizes: smaller ones, by job.
    """

    jobs: Sequence[Planned]
    shape: Shape
    cluster: ClusterSettings
    time: str
    batch_sizes: Mapping[str, int]


def submit(
    name: str | None,
    overrides: Sequence[str],
    selection: Selection,
    sbatch_flags: Sequence[str],
    keep: bool = False,
    dry_run: bool = False,
    pilot: bool = False,
) -> int:
    """Freeze the plan of an experiment, and submit the jobs that are neither done nor in the queue.

    Args:
        name: of the experiment; without one, overrides are a grid.
        overrides: of every row; `cluster=` and `cluster.KEY=` are how jobs are asked for.
        selection: which rows, and in how many shards.
        sbatch_flags: more for sbatch.
        keep: keep finished images although the code has changed.
        dry_run: print jobs and script, and submit nothing.
        pilot: with it, do one image of each cell, and tell hours and gigabytes.

    Returns:
        0.

    Raises:
        ConfigError: no SLURM, or it refuses the script.
    """
    if not dry_run:
        slurm.require()
    own = [text for text in overrides if text.partition("=")[0].partition(".")[0] == "cluster"]
    cluster = _cluster(own, {})
    _check_flags(sbatch_flags)
    cluster = replace(cluster, flags=(*cluster.flags, *sbatch_flags))
    rest = [text for text in overrides if text not in own]
    given = {text.partition("=")[0] for text in rest}
    more = [text for text in _several(cluster) if text.partition("=")[0] not in given]
    chosen = choose(select(name, [*more, *rest], selection))
    jobs = plan_jobs(chosen, selection.shards)
    to_do([job for job in jobs if job.folder and not job.training], Flags(keep, fresh=False, group=""))
    plan = freeze(chosen.experiment, jobs, current=not dry_run)
    if all(job.folder for job in jobs) and not dry_run:
        declare_contrasts(chosen)
    states = progress(plan, sure=not dry_run)
    left = [one.job for one in states if one.state not in LIVE]
    told(plan, left)
    if pilot:
        from zinv.cluster.pilot import estimate

        estimate(plan, left)
    return _submit(plan, orders(left, cluster), dry_run, _awaited(states))


def retry(name: str, overrides: Sequence[str], runs: str, every: bool = False, dry_run: bool = False) -> int:
    """Submit what is missing or failed, and nothing else, by reason.

    Out of memory goes with half the batch, a time limit with twice the time, unless overrides say which; what failed
    three times without getting further is set aside, unless `every` asks for it, and what needs it waits. What runs or
    waits in the queue is left alone.

    Raises:
        ConfigError: no SLURM, or it does not answer.
        StoreError: no plan of this name.
    """
    if not dry_run:
        slurm.require()
    plan = current(experiment_folder(Path(runs), name))
    settings = plan_cluster(plan, overrides)
    states = progress(plan, sure=not dry_run)
    aside = [one for one in states if one.state == "set aside" and not every]
    stuck = {one.job.id for one in aside}
    again = [one for one in states if one.state not in LIVE and one not in aside and not stuck & {*one.job.needs}]
    for one in aside:
        print(f"set aside: {one.job.id} {one.job.name}: failed {one.failed_tries} times ({_last(one)}); --all tries it")
    for one in states:
        if need := stuck & {*one.job.needs}:
            print(f"waits: {one.job.id} {one.job.name} needs {', '.join(sorted(need))}, which is set aside")
    for one in again:
        print(f"again: {one.job.id} {one.job.name} ({_last(one)})")
    if not again:
        print("nothing is missing." if not aside else "nothing else is missing.")
        return 0
    given = any(text.startswith("cluster.time=") for text in overrides)
    times = {} if given else {one.job.id: _longer(plan, one, settings) for one in again if one.reason == "time"}
    smaller = {one.job.id: size for one in again if (size := _batch_size(one)) is not None}
    return _submit(plan, orders([one.job for one in again], settings, smaller, times), dry_run, _awaited(states))


def _longer(plan: Plan, one: Progress, settings: ClusterSettings) -> str:
    """Twice the limit that a job last had."""
    limits = [sent.time for sent in submissions(plan.experiment) if sent.number(one.job.id)]
    return longer(limits[-1] if limits else settings.time)


def plan_cluster(plan: Plan, overrides: Sequence[str]) -> ClusterSettings:
    """What the last submission asked for, changed by overrides."""
    sent = [one for one in submissions(plan.experiment) if one.slurm]  # what SLURM refused does not count
    return _cluster(overrides, {"cluster": _stored(sent[-1].path)} if sent else {})


def _cluster(overrides: Sequence[str], base: Mapping[str, object]) -> ClusterSettings:
    settings: ClusterSettings = build(compose(overrides, base, groups=("cluster",)), "cluster")
    if minutes(settings.time) * 60 <= settings.notice:
        raise ConfigError(
            f"cluster.notice={settings.notice} (seconds) leaves nothing of cluster.time={settings.time}: "
            "a job would be told of its end at its start."
        )
    _check_flags(settings.flags)
    return settings


def _check_flags(flags: Iterable[str]) -> None:
    """Refuse flags of sbatch that would undo what is asked for later, such as the longer time of a retry."""
    for flag in flags:
        name = flag.partition("=")[0].split()[0] if flag.startswith("--") else flag[:2]
        if name in OWNED:
            raise ConfigError(f"{flag}: zinv asks for this itself, and changes it between tries. Use {OWNED[name]}.")


def orders(
    jobs: Iterable[Planned],
    cluster: ClusterSettings,
    batch_sizes: Mapping[str, int] | None = None,
    times: Mapping[str, str] | None = None,
) -> list[Order]:
    """Jobs by what they ask for, those that others wait for first; `times` are limits other than the cluster's."""
    known = {job.id: job for job in jobs}

    def level(job: Planned) -> int:
        return max((1 + level(known[need]) for need in job.needs if need in known), default=0)

    groups: dict[tuple[int, Shape, str], list[Planned]] = {}
    for job in known.values():
        limit = (times or {}).get(job.id, cluster.time)
        groups.setdefault((level(job), _shape(job, cluster), limit), []).append(job)
    return [
        Order(group, shape, cluster, limit, batch_sizes or {})
        for (_, shape, limit), group in sorted(groups.items(), key=lambda item: item[0][0])
    ]


def told(plan: Plan, left: Sequence[Planned]) -> None:
    """A line a job."""
    for job in plan.jobs:
        images = "training" if job.training else f"{plan.num_images(job)} images"
        done = "" if job in left else ", done or in the queue"
        note = f" ({job.note})" if job.note else ""
        print(f"{job.id}  {job.name}: {images}{done}{note}")


def _several(cluster: ClusterSettings) -> list[str]:
    """Overrides of jobs that have several processes: one on each GPU of each node."""
    if cluster.whole_node or max(1, cluster.gpus) * cluster.nodes == 1:
        return []
    return ["trainer.strategy=ddp", f"trainer.devices={cluster.gpus or 1}", f"trainer.num_nodes={cluster.nodes}"]


def _shape(job: Planned, cluster: ClusterSettings) -> Shape:
    trainer = job.config["trainer"]
    devices = trainer["devices"] if trainer["devices"] != "auto" else max(1, cluster.gpus)
    shape = Shape(int(trainer["num_nodes"]), int(devices))
    if cluster.whole_node and shape != Shape():
        raise ConfigError(f"cluster.whole_node={cluster.whole_node}: {job.name} has several processes of its own.")
    return shape


def _awaited(states: Sequence[Progress]) -> dict[str, str]:
    """Tasks of the jobs that run or wait in the queue, by id."""
    return {one.job.id: one.slurm for one in states if one.state in ("running", "queued") and one.slurm}


def _submit(plan: Plan, made: Sequence[Order], dry_run: bool, awaited: Mapping[str, str]) -> int:
    numbers = dict(awaited)
    for order in made:
        each = (order.cluster.whole_node or 1) * order.cluster.jobs_per_task
        for part in split(tasks([job.id for job in order.jobs], each), order.cluster.array_limit):
            place, text = _prepare(plan, order, part, write=not dry_run)
            waits = sorted({numbers[need] for job in order.jobs for need in job.needs if need in numbers})
            if dry_run:
                print(text)
                continue
            flags = [f"--dependency=afterok:{':'.join(waits)}", "--kill-on-invalid-dep=yes"] if waits else []
            number = slurm.sbatch(place / "job.sh", flags)
            replace_text(place / "slurm.json", to_json({"job": number}))
            numbers |= {job: number for task in part for job in task}
            count = sum(map(len, part))
            print(f"submitted: {count} jobs in {len(part)} tasks as SLURM job {number} ({place / 'job.sh'})")
    if not made:
        print("nothing to submit: every job is done or in the queue.")
    return 0


def _prepare(plan: Plan, order: Order, part: Sequence[list[str]], write: bool) -> tuple[Path, str]:
    """The folder of a submission with its list of tasks and its script."""
    parent = plan.experiment / "submissions"
    name = f"{max([0, *(int(path.name) for path in parent.glob('[0-9]*'))]) + 1:03d}"
    place = (parent / name).resolve()
    count = sum(map(len, part))
    what = f"{count} jobs of {plan.experiment.name}, plan {plan.folder.name}; written by zinv, submission {name}"
    text = script(
        plan.experiment.name,
        len(part),
        order.shape,
        replace(order.cluster, time=order.time),
        place,
        plan.code.resolve(),
        Path(plan.facts["cwd"]),
        what,
    )
    if write:
        with clear_errors(plan.experiment):
            place.mkdir(parents=True)
            (plan.experiment / "logs").mkdir(exist_ok=True)
            content: dict[str, Any] = {
                "plan": plan.folder.name,
                "tasks": [{"jobs": jobs, "batch_size": _of(order, jobs)} for jobs in part],
                "time": order.time,
                "cluster": {
                    **vars(order.cluster),
                    "_target_": "zinv.config.settings.ClusterSettings",
                    "_name_": "last",
                },
            }
            replace_text(place / "submission.json", to_json(content))
            replace_text(place / "job.sh", text)
    return place, text


def _of(order: Order, jobs: Sequence[str]) -> dict[str, int]:
    return {job: order.batch_sizes[job] for job in jobs if job in order.batch_sizes}


def _stored(place: Path) -> dict[str, object]:
    content = read_json(place / "submission.json", "cluster")["cluster"]
    assert isinstance(content, dict)
    return content


def _batch_size(one: Progress) -> int | None:
    """The batch of the next try: half of the last one's after it ran out of memory, else the same.

    What chose its batch itself takes one image at a time then.
    """
    asked = one.job.config.get("data", {}).get("batch_size", 1)
    before = one.batch_size or (1 if asked == "auto" else int(asked))
    return max(1, before // 2) if one.reason == "memory" else one.batch_size


def _last(one: Progress) -> str:
    if one.failures:
        return f"{len(one.failures)} images failed"
    words = REASONS[one.reason] if one.reason else "not begun" if not one.finished else "not finished"
    return f"{words}: {one.error}" if one.error and one.reason == "error" else words


def flags_as_overrides(given: Mapping[str, str | None]) -> list[str]:
    """The flags of `zinv submit` as settings of `cluster`.

    >>> flags_as_overrides({"partition": "gpu", "array_limit": None})
    ['cluster.partition=gpu']
    """
    return [f"cluster.{key}={value}" for key, value in given.items() if value is not None]
