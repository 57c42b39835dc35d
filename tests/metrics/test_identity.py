"""The face network on photographs of people; skipped where they are absent."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from zinv.errors import WeightsError
from zinv.images import read_image

pytest.importorskip("facenet_pytorch")
from zinv.metrics.identity import IdentitySimilarity  # noqa: E402


def test_missing_weights_say_where_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="20180402-114759-vggface2.pt is missing. Get it from https://github.com"):
        IdentitySimilarity()


def test_another_network_is_refused(tmp_path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="not an InceptionResnetV1"):
        IdentitySimilarity(str(tmp_path / "other.pt"))


@pytest.fixture(scope="module")
def metric(real: Path) -> IdentitySimilarity:
    return IdentitySimilarity(str(real / "inception_resnet_v1_vggface2_fp16.pt"))


@pytest.mark.slow
def test_same_people_are_near_and_others_far(metric: IdentitySimilarity, real: Path) -> None:
    photographs = sorted(path for path in (real / "people").rglob("*") if path.is_file())
    with torch.inference_mode():
        embeddings = {path: metric.embed(read_image(path)[None])[0][0] for path in photographs}
    assert all(embedding.isfinite().all() for embedding in embeddings.values())
    for a, b in itertools.combinations(photographs, 2):
        cosine = float(embeddings[a] @ embeddings[b])
        assert cosine > 0.6 if a.parent == b.parent else cosine < 0.4, (a.name, b.name)


@pytest.mark.slow
def test_no_face_is_missing_and_spoils_no_other(metric: IdentitySimilarity, real: Path) -> None:
    face = read_image(next((real / "ffhq256").glob("*.png")))
    rng = torch.Generator().manual_seed(0)
    blank, noise = torch.zeros_like(face), torch.rand(face.shape, generator=rng) * 2 - 1
    with torch.inference_mode():
        values = metric(torch.stack([face, face, blank]), torch.stack([face, noise, face]))
        tiny = metric(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))
    assert values[0].item() == pytest.approx(1, abs=1e-5)
    assert [math.isnan(value) for value in [*values.tolist(), *tiny.tolist()]] == [False, True, True, True]


@pytest.mark.slow
def test_identity_falls_with_blur_and_with_another_person(metric: IdentitySimilarity, real: Path) -> None:
    """Over 16 photographs: itself 1, less with each blur, and another person further off than a blur that one sees."""
    paths = sorted((real / "ffhq256").glob("*.png"))[:16]
    faces = torch.stack([read_image(path) for path in paths])
    blurred = [gaussian_blur(faces, [6 * round(sigma) + 1] * 2, [sigma] * 2) for sigma in (1.0, 2.0, 4.0)]
    with torch.inference_mode():
        means = [metric(images, faces).nanmean().item() for images in (faces, *blurred, faces.roll(1, 0))]
        found = [int(metric(images, faces).isfinite().sum()) for images in (faces, blurred[0])]
    assert means[0] == pytest.approx(1, abs=1e-4)
    assert means == sorted(means, reverse=True)
    assert means[1] > 0.9 and means[-1] < 0.3 and means[2] - means[-1] > 0.3
    assert found == [16, 16]
