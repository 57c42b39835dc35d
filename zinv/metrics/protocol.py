"""The Protocol: a named set of metrics, and what is done to the images before them. No number without one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import Tensor, nn

from zinv.errors import ConfigError, ProtocolError, suggest
from zinv.images import Resize, resize, round_8bit
from zinv.metrics.base import Embedding, Metric
from zinv.metrics.seen import Seen
from zinv.presets import make
from zinv.values import Count

Levels = Literal["nearest", "floor", "float"]


class Protocol(nn.Module):
    """Scores images against their targets, one at a time, so that no value depends on its batch.

    Args:
        name: as tables print it.
        metrics: presets of `configs/metric`, or dotted paths.
        options: constructor arguments of single metrics: `options.ssim.variant=wang`.
        resolution: pixels a side that both images are resized to; none: as they are.
        resize: the filter.
        target_resize: the target's filter, where it is another.
        levels: how the image becomes 8-bit: to the nearest level, to the lower one, or not at all.

    Raises:
        ConfigError: an unknown metric or argument.
        WeightsError: a network's file is missing.

    >>> pixel = Protocol("pixel", ["mse", "psnr"])
    >>> {k: v.tolist() for k, v in pixel.score(torch.ones(1, 3, 4, 4), -torch.ones(1, 3, 4, 4)).items()}
    {'mse': [4.0], 'psnr': [0.0]}
    """

    def __init__(
        self,
        name: str,
        metrics: Sequence[str],
        options: dict[str, dict[str, object]] | None = None,
        resolution: Count | None = None,
        resize: Resize = "area",
        target_resize: Resize | None = None,
        levels: Levels = "nearest",
    ) -> None:
        super().__init__()
        self.name, self.resolution, self.levels = name, resolution, levels
        self.resize, self.target_resize = resize, target_resize or resize
        self.metrics = nn.ModuleDict(_build(metrics, options or {}))

    def parts(self) -> dict[str, Metric]:
        """The metrics by column."""
        return {name: cast(Metric, metric) for name, metric in self.metrics.items()}

    @property
    def columns(self) -> list[str]:
        """Names of the columns that it fills."""
        return list(self.parts())

    @torch.inference_mode()
    def score(self, image: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Each metric's values `(N,)`, float32 on the CPU; NaN is an image that could not be scored.

        Raises:
            ProtocolError: images and targets of different shapes, or too small for a metric.
        """
        if image.shape != target.shape:
            raise ProtocolError(f"protocol={self.name}: images {tuple(image.shape)}, targets {tuple(target.shape)}.")
        with full_precision(image.device):
            rows = [self._score_one(a[None], b[None]) for a, b in zip(image, target, strict=True)]
        return {name: torch.tensor([row[name] for row in rows], dtype=torch.float32) for name in self.columns}

    def _score_one(self, image: Tensor, target: Tensor) -> dict[str, float]:
        image, target = self.prepare(image, target)
        for metric in self.parts().values():
            metric.check_size(image)
        return {name: float(metric(image, target)) for name, metric in self.parts().items()}

    def prepare(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both as the metrics see them: 8-bit, then resized."""
        return self._prepared(image, self.levels, self.resize), self._prepared(target, "nearest", self.target_resize)

    def _prepared(self, image: Tensor, levels: Levels, how: Resize) -> Tensor:
        size = self.resolution or image.shape[-1]
        return resize(quantise(image.float(), levels), size, how).clamp(-1, 1)

    @torch.no_grad()
    def compare(self, column: str, image: Seen, target: Seen) -> float:
        """What `score` gives of one metric and one pair."""
        metric = self.parts()[column]
        with full_precision(image.pixels.device):
            a = self._embedded(column, metric, image, self.levels, self.resize)
            b = self._embedded(column, metric, target, "nearest", self.target_resize)
            return float(metric.compare(a, b))

    def _embedded(self, column: str, metric: Metric, seen: Seen, levels: Levels, how: Resize) -> Embedding:
        return seen.embedding((column, levels, how), lambda pixels: metric.embed(self._prepared(pixels, levels, how)))

    def line(self) -> str:
        """What is printed under each table."""
        metrics = "; ".join(_describe(metric) for metric in self.parts().values())
        return f"protocol {self.name} {self.digest()[:8]}: {self._images()}; {metrics}."

    def _images(self) -> str:
        depth = "float" if self.levels == "float" else "8-bit" if self.levels == "nearest" else "8-bit rounded down"
        if self.resolution is None:
            return f"RGB in [-1, 1], {depth}, own resolution"
        ours, theirs = self.resize, self.target_resize
        how = ours if ours == theirs else f"{ours}, targets {theirs}"
        return f"RGB in [-1, 1], {depth}, resized to {self.resolution} ({how})"

    def digest(self) -> str:
        """Names what is measured: equal digests, comparable numbers. Weights count by content, the name doesn't."""
        metrics = {name: [metric.describe(), metric.sha256] for name, metric in self.parts().items()}
        content = [self._images(), self.target_resize, metrics]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def facts(self) -> dict[str, dict[str, str | bool | int | None]]:
        """What a table needs to know of each column, without the networks."""
        return {
            name: {
                "label": metric.label,
                "higher_is_better": metric.higher_is_better,
                "digits": metric.digits,
                "network": metric.network,
            }
            for name, metric in self.parts().items()
        }


def _build(names: Sequence[str], options: Mapping[str, Mapping[str, object]]) -> dict[str, Metric]:
    if not names:
        raise ConfigError("protocol.metrics=[]: name at least one metric.")
    for name in options:
        if name not in names:
            raise ConfigError(f"protocol.options.{name}: no such metric here. {suggest(name, names)}")
    metrics = {}
    for name in names:
        column = name.rpartition(".")[2]
        metrics[column] = make("metric", name, Metric, options.get(name, {}), f"protocol.options.{name}")  # type: ignore[type-abstract]
        metrics[column].name = column
    return metrics


def _describe(metric: Metric) -> str:
    return metric.describe() + (f" [{metric.sha256[:8]}]" if metric.sha256 else "")


def quantise(image: Tensor, levels: Levels) -> Tensor:
    """What an exporter leaves of images in [-1, 1]; `floor` forgives a thousandth of a level."""
    if levels == "floor":
        return ((image.clamp(-1, 1) + 1) * 127.5 + 1e-3).floor() / 127.5 - 1
    return round_8bit(image) if levels == "nearest" else image.clamp(-1, 1)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Float32 without TF32 and without autocast, whatever the program chose."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
