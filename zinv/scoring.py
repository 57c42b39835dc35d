"""Stored inversions to numbers: decode, compare with the stored reconstruction, score under a protocol."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zinv.data.base import DataSource
from zinv.errors import DataError, StoreError
from zinv.evaluation.records import ProtocolInfo
from zinv.evaluation.scores import read_scores, unscored, write_scores
from zinv.evaluation.store import Run
from zinv.images import pixels_sha256, round_8bit
from zinv.methods.base import Inverter
from zinv.methods.inversion import Inversion
from zinv.metrics.protocol import Protocol
from zinv.ranks import Ranks

MAX_DIFFERENCE = 1.0  # mean absolute difference, in 8-bit levels: rounding of another machine stays far below


def score_images(
    run: Run, source: DataSource, method: Inverter, protocol: Protocol, ranks: Ranks, ids: Sequence[str]
) -> None:
    """Score those images that are finished and have no scores under the protocol; each process takes its share."""
    info = ProtocolInfo.of(protocol)
    left = unscored(run, info, ids)
    todo = [i for i, name in enumerate(source.ids) if name in left]
    method.to(ranks.device)
    protocol.to(ranks.device)
    for i in ranks.share(todo):
        name = source.ids[i]
        if read_scores(run, info, name) is not None:  # another run was faster
            continue
        try:
            target = source.image(i)
        except DataError as error:
            raise StoreError(f"{run.path}: '{name}' cannot be scored without its picture: {error}") from error
        run.check_target(name, pixels_sha256(target))
        image = decode(run, method, name).to(ranks.device)
        values = protocol.score(image[None], target[None].to(ranks.device))
        write_scores(run, info, name, {column: float(value[0]) for column, value in values.items()})


def make_pictures(run: Run, method: Inverter) -> None:
    """Make the reconstructions that were not kept."""
    for name in sorted(run.finished()):
        if not run.read(name).has_picture:
            run.keep_picture(name, decode(run, method, name).cpu())


@torch.no_grad()
def decode(run: Run, method: Inverter, name: str) -> Tensor:
    """Synthesise a stored inversion again, `(3, R, R)` in [-1, 1]; without its tuned weights, the stored picture.

    It is compared with the stored picture, if that was kept.

    Raises:
        StoreError: it is not the picture that was stored.
    """
    stored = run.read(name)
    tensors = {key: tensor.to(method.device) for key, tensor in stored.tensors.items()}
    inversion = Inversion.join([(tensors, stored.metadata)])
    if not inversion.keeps_weights:
        return stored.reconstruction
    image = method.reconstruct(inversion)[0]
    if not stored.has_picture:
        return image
    difference = (round_8bit(image).cpu() - stored.reconstruction).abs().mean() * 127.5
    if not difference <= MAX_DIFFERENCE:
        raise StoreError(
            f"{run.path}: '{name}' decodes to another picture than the stored one (mean difference "
            f"{float(difference):.1f} levels); its weights or the code have changed."
        )
    return image
