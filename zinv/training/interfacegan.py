"""InterfaceGAN (Shen et al. 2020): the normal of a linear boundary between draws with least and most of something."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sklearn.svm import SVC
from torch import Tensor

from zinv.editing.direction import Direction
from zinv.errors import ConfigError
from zinv.training.draws import Scored

FITTED = 0.7  # of the draws; the others measure the accuracy


class InterfaceGANTraining(Scored):
    """Linear boundaries of attributes among a prior's codes; a step is one standard deviation of the draws across.

    In S, whose channels have scales of their own, boundaries are those of codes divided by the prior's spread.

    Arguments are those of `Scored`; a ratio of .02 is the paper's code's.
    """

    method = "interfacegan"

    def directions(self) -> list[Direction]:
        scale = self.space.spread(self.generator).cpu() if self.space.coordinates == "s" else torch.ones(())
        needed = dict.fromkeys([*self.attributes, *(name for each in self.conditions.values() for name in each)])
        normals = {name: self._normal(name, scale) for name in needed}
        prior = self.codes(torch.arange(min(self.num, 2000))) / scale
        found = []
        for name in self.attributes:
            normal = orthogonal(normals[name], [normals[other] for other in self.conditions.get(name, ())])
            deviation = (prior.flatten(1) @ normal).std()
            step = scale * (deviation * normal).view(prior.shape[1:])
            found.append(self.direction(name, step))
        return found

    def _normal(self, attribute: str, scale: Tensor) -> Tensor:
        low, high = self.extremes(attribute)
        normal, accuracy = boundary(*((self.codes(places) / scale).flatten(1) for places in (low, high)))
        self.quality[f"accuracy_{attribute}"] = accuracy
        return normal


def boundary(low: Tensor, high: Tensor) -> tuple[Tensor, float]:
    """The unit normal `(D,)` from codes `(N, D)` to others, and how many of those left out it tells apart.

    A support vector machine with a linear kernel and scikit-learn's C; 7 of 10 codes are fitted, in their order.

    >>> far = torch.tensor([5.0, 0.0])
    >>> cloud = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    >>> normal, accuracy = boundary(cloud - far, cloud + far)
    >>> bool(normal[0] > 0.9), accuracy
    (True, 1.0)
    """
    places = torch.arange(len(low))
    mine = places % 10 < 10 * FITTED  # spread over the order, which is by score
    fit, left = (torch.cat([low[part], high[part]]).double().numpy() for part in (mine, ~mine))
    labels = [torch.arange(2).repeat_interleave(int(part.sum())).numpy() for part in (mine, ~mine)]
    machine = SVC(kernel="linear").fit(fit, labels[0])
    normal = torch.tensor(machine.coef_[0])
    accuracy = float(machine.score(left, labels[1])) if len(left) else float("nan")
    return (normal / normal.norm()).float(), accuracy


def orthogonal(normal: Tensor, others: Sequence[Tensor]) -> Tensor:
    """The part of a unit vector that is orthogonal to others, as a unit vector.

    Raises:
        ConfigError: nothing is left of it.

    >>> orthogonal(torch.tensor([0.6, 0.8]), [torch.tensor([0.0, 1.0])])
    tensor([1., 0.])
    """
    if not others:
        return normal
    basis, _ = torch.linalg.qr(torch.stack(list(others), 1).double())
    rest = normal.double() - basis @ (basis.T @ normal.double())
    if rest.norm() < 1e-6:
        raise ConfigError("model.conditions: nothing is left of a direction that is orthogonal to these.")
    return (rest / rest.norm()).float()
