"""P_N statistics against closed forms, numpy, and the published ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zinv.errors import ConfigError, WeightsError
from zinv.generators.base import BaseCode, FeatureEdit, Generator, Noise, Styles
from zinv.generators.toy import toy_stylegan2
from zinv.spaces.statistics import Moments, PNStatistics, mapped


class LinearMapping(Generator):
    """v(w) = z A + b, so that mean and covariance are known."""

    z_dim = w_dim = 4

    def __init__(self, name: str = "linear", per_layer: bool = False) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(3)
        self.a, self.b = torch.randn(4, 4, generator=rng), torch.randn(4, generator=rng)
        self.w_avg, self.sha256, self.per_layer = torch.zeros(4), name, per_layer

    def mapping(self, z: Tensor) -> Tensor:
        w = F.leaky_relu(z @ self.a + self.b, 0.2)
        return w[:, None].expand(-1, 6, -1) if self.per_layer else w

    def affine(self, ws: Tensor) -> Styles:
        raise NotImplementedError

    def synthesis(
        self,
        styles: Styles,
        base: BaseCode | None = None,
        edits: Mapping[str, FeatureEdit] | None = None,
        noise: Noise = "const",
    ) -> Tensor:
        raise NotImplementedError

    def features(self, styles: Styles, points: Sequence[str]) -> dict[str, Tensor]:
        raise NotImplementedError

    def above(self, point: str) -> Generator:
        raise NotImplementedError


def test_statistics_of_a_linear_mapping_are_those_of_its_matrix() -> None:
    generator = LinearMapping()
    statistics = PNStatistics.compute(generator, num=200_000)
    covariance = statistics.eigenvectors * statistics.eigenvalues @ statistics.eigenvectors.T
    torch.testing.assert_close(statistics.mean, generator.b, atol=0.02, rtol=0)
    torch.testing.assert_close(covariance, generator.a.T @ generator.a, atol=0.1, rtol=0)


def test_streaming_equals_numpy_on_one_array() -> None:
    w = torch.randn(3000, 6) @ torch.randn(6, 6) + 5
    moments = Moments(6)
    for part in w.split(700):
        moments.add(part)
    mean, values, vectors = moments.principal_axes()
    v = np.where(w.numpy() < 0, 5 * w.numpy(), w.numpy()).astype(np.float64)
    np.testing.assert_allclose(mean, v.mean(0), rtol=1e-5)
    np.testing.assert_allclose((vectors * values @ vectors.T).numpy(), np.cov(v.T), rtol=1e-4, atol=1e-4)
    assert list(values) == sorted(values, reverse=True)


def test_whitened_samples_are_standard_and_unwhiten_is_the_inverse() -> None:
    generator = toy_stylegan2()
    statistics = PNStatistics.compute(generator, num=20_000)
    w = mapped(generator, 20_000, seed=1, start=0)
    p = statistics.whiten(w)
    torch.testing.assert_close(p.mean(0), torch.zeros(16), atol=0.05, rtol=0)
    torch.testing.assert_close(p.T @ p / len(p), torch.eye(16), atol=0.1, rtol=0)
    torch.testing.assert_close(statistics.unwhiten(p), w, atol=1e-4, rtol=1e-3)


def test_a_saved_file_comes_back_and_names_its_generator(tmp_path: Path) -> None:
    statistics = PNStatistics.compute(LinearMapping(), num=1000)
    statistics.save(tmp_path / "pnorm.safetensors")
    again = PNStatistics.load(str(tmp_path / "pnorm.safetensors"))
    assert again.generator == "linear"
    assert torch.equal(again.eigenvectors, statistics.eigenvectors)
    with pytest.raises(WeightsError, match=r"of generator linear…, not of another…"):
        again.check(LinearMapping("another"), "pnorm.safetensors")


def test_published_arrays_are_known_by_their_samples(tmp_path: Path) -> None:
    statistics = PNStatistics.compute(toy_stylegan2(), num=20_000)
    _save_arrays(statistics, tmp_path)
    PNStatistics.load(str(tmp_path)).check(toy_stylegan2())
    with pytest.raises(WeightsError, match=r"whiten to a mean square of \d\S*, not 0.9 to 1.1"):
        PNStatistics.load(str(tmp_path)).check(toy_stylegan2(seed=1))


def test_auto_computes_once_and_finds_by_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZINV_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("zinv.spaces.statistics.NUM", 1000)
    first = PNStatistics.of(LinearMapping("a"))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1
    monkeypatch.setattr(PNStatistics, "compute", None)
    assert torch.equal(PNStatistics.of(LinearMapping("a")).mean, first.mean)


def test_a_w_for_each_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="P_N needs one w for all layers"):
        PNStatistics.compute(LinearMapping(per_layer=True), num=10)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"needs mean_latent\.npy"):
        PNStatistics.load(str(tmp_path))


def test_published_ffhq_statistics_have_the_known_spectrum(real: Path) -> None:
    statistics = PNStatistics.load(str(real / "stylegan2_ffhq1024" / "pnorm"))
    values = statistics.eigenvalues
    assert values.max() == pytest.approx(29.93, abs=0.01)
    assert values.min() == pytest.approx(6.6e-8, rel=0.02)
    assert values.sum() == pytest.approx(332.1, abs=0.1)
    assert [int((values < bound).sum()) for bound in (1e-3, 1e-4, 1e-5)] == [64, 22, 7]


def test_published_ffhq_statistics_agree_with_the_published_mean_of_w(real: Path) -> None:
    folder = real / "stylegan2_ffhq1024"
    statistics = PNStatistics.load(str(folder / "pnorm"))
    w_avg = torch.load(folder / "ganspace_w" / "ffhq_pca.pt", weights_only=True)["mean"].reshape(-1)
    whitened = statistics.whiten(w_avg)
    assert whitened.square().mean() == pytest.approx(518, rel=0.01)
    sampled = statistics.unwhiten(torch.randn(20_000, 512, generator=torch.Generator().manual_seed(0))).mean(0)
    assert torch.corrcoef(torch.stack([sampled, w_avg]))[0, 1] > 0.999
    assert sampled.norm() == pytest.approx(4.12, abs=0.02)


def _save_arrays(statistics: PNStatistics, folder: Path) -> None:
    np.save(folder / "mean_latent.npy", statistics.mean.numpy())
    np.save(folder / "eigen_values.npy", statistics.eigenvalues.numpy())
    np.save(folder / "eigen_vectors.npy", statistics.eigenvectors.numpy())
