"""Commands on what runs are made of: networks, weight files, presets, parts."""

from __future__ import annotations

from typing import Final

from zinv.commands.base import DRY, FOR, FRESH, OVERRIDES, Arguments, Command, Flag
from zinv.errors import ConfigError, suggest


def _train(arguments: Arguments) -> int:
    if arguments.dry_run:
        from zinv.listing import show_training

        return show_training(arguments.overrides)
    from zinv.early import check_devices

    check_devices(arguments.overrides, {"trainer": "fit"})
    from zinv.train import train

    return train(arguments.overrides, arguments.fresh)


def _show(arguments: Arguments) -> int:
    from zinv.listing import show

    return show(arguments.overrides)


def _list(arguments: Arguments) -> int:
    from zinv.listing import show_presets

    return show_presets(arguments.group)


def _weights(arguments: Arguments) -> int:
    words = [word for word in arguments.words if "=" not in word]
    overrides = [word for word in arguments.words if "=" in word]
    action, *names = words or ["list"]
    experiment, to = vars(arguments)["for"], arguments.to
    if action == "list" and not names:
        from zinv.fetch import show_weights

        return show_weights(experiment, overrides)
    if action == "fetch":
        from zinv.fetch import fetch

        return fetch(names, experiment, overrides, to)
    if action == "bundle" and 1 <= len(names) <= 2:
        from zinv.bundle import bundle

        return bundle(names[0], overrides, names[1] if len(names) == 2 else None)
    if action == "unbundle" and len(names) == 1:
        from zinv.bundle import unbundle

        return unbundle(names[0], to)
    raise ConfigError(_weights_usage(action))


def _weights_usage(action: str) -> str:
    usage = {
        "list": "zinv weights list [--for EXPERIMENT]",
        "fetch": "zinv weights fetch NAME … or fetch --for EXPERIMENT",
        "bundle": "zinv weights bundle EXPERIMENT [OUT.tar]",
        "unbundle": "zinv weights unbundle FILE.tar [--to FOLDER]",
    }
    if action in usage:
        return f"zinv weights {action}: it is {usage[action]}."
    return f"zinv weights {action}: there is no such action. {suggest(action, usage)}"


def _convert(arguments: Arguments) -> int:
    from zinv.convert import convert

    return convert(arguments.source, arguments.target, arguments.format)


def _doctor(arguments: Arguments) -> int:
    from zinv.doctor import doctor

    return doctor(arguments.overrides, vars(arguments)["for"])


def _check(arguments: Arguments) -> int:
    from zinv.check import check

    return check(arguments.part)


COMMANDS: Final[dict[str, Command]] = {
    "train": Command(
        "train a network that parts load: a generator, an encoder, a demo network",
        _train,
        (OVERRIDES, FRESH, DRY),
        "zinv train model=generator",
    ),
    "show": Command(
        "print a resolved configuration: of overrides, or of a run folder",
        _show,
        (OVERRIDES,),
        "zinv show method=bdinvert space=zplus generator=toy",
    ),
    "list": Command(
        "list what can be chosen",
        _list,
        (Flag(("group",), "one group, such as space, or experiments", "GROUP", optional=True),),
        "zinv list space",
    ),
    "weights": Command(
        "list weight files, fetch those that others publish, bundle them for a cluster without internet",
        _weights,
        (
            Flag(
                ("words",),
                "list (default), fetch NAME …, bundle EXPERIMENT [OUT.tar] or unbundle FILE.tar; and overrides",
                "ACTION",
                many=True,
            ),
            FOR,
            Flag(("--to",), "folder to write to, instead of the first of ZINV_WEIGHTS that can be", "FOLDER"),
        ),
        "zinv weights fetch lpips/vgg16",
    ),
    "convert": Command(
        "write a generator file of any format as safetensors, rosinality .pt or genforce .pth",
        _convert,
        (
            Flag(("source",), "a generator file, of zinv or others, or a weight name", "IN"),
            Flag(("target",), "file to write", "OUT"),
            Flag(("--format",), "the format, if not by OUT's suffix", choices=("zinv", "rosinality", "genforce")),
        ),
        "zinv convert ffhq.pkl ffhq.safetensors",
    ),
    "doctor": Command(
        "look for what a run would stumble over: torch, GPUs, weights, folders, SLURM, W&B",
        _doctor,
        (OVERRIDES, FOR),
        "zinv doctor trainer=gpu",
    ),
    "check": Command(
        "test a part of your own against its contract",
        _check,
        (Flag(("part",), "its import path", "DOTTED"),),
        "zinv check mylab.zradius.ZRadius",
    ),
}
