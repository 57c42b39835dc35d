"""Single channels of StyleSpace (Wu et al. 2021): the one style that tells draws with an attribute from the others."""

from __future__ import annotations

from dataclasses import replace

import torch

from zinv.editing.direction import Direction
from zinv.errors import ConfigError
from zinv.training.draws import Scored


class StyleSpaceTraining(Scored):
    """For each attribute the channel whose mean, among the draws that have most of it, is most standard deviations off.

    The paper's measure (section 4.2): the mean normalised difference of the positive draws, over its own deviation. A
    step is one standard deviation of the channel; directions are called smile_channel. Arguments are those of `Scored`;
    `space` is S.
    """

    method = "stylespace"

    def directions(self) -> list[Direction]:
        """One channel for each attribute.

        Raises:
            ConfigError: the space is not S, or there are conditions.
        """
        if self.space.coordinates != "s":
            raise ConfigError(f"model=stylespace: channels are in S, not in {self.space.label}. Choose space=s.")
        if self.conditions:
            raise ConfigError("model.conditions: a single channel is not made orthogonal to others.")
        prior = self.codes(torch.arange(min(self.num, 2000)))
        mean, spread = prior.mean(0), prior.std(0).clamp_min(1e-8)
        found = []
        for name in self.attributes:
            apart = (self.codes(self.extremes(name)[1]) - mean) / spread
            relevance = apart.mean(0) / apart.std(0).clamp_min(1e-8)
            channel = int(relevance.abs().argmax())
            step = torch.zeros_like(mean)
            step[channel] = spread[channel] * relevance[channel].sign()
            self.quality[f"relevance_{name}"] = float(relevance[channel].abs())
            found.append(replace(self.direction(name, step), name=f"{name}_channel"))
        return found
