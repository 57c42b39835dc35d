"""SAM's maps as planes: of each layer what is predicted, and its pixels."""

import torch

from zinv.figures.masks import planes


def image(scale: float) -> dict[str, torch.Tensor]:
    layers = torch.tensor([[0, 1], [2, 2]], dtype=torch.uint8)
    masks = {f"maps/mask/b{side}.out": (layers == i).float()[None] for i, side in ((2, 16), (1, 8))}
    predicted = scale * torch.tensor([[[0.1, 0.8], [0.4, 0.4]], [[0.1, 0.1], [0.2, 0.4]], [[0.0, 0.0], [0.0, 0.1]]])
    return {**masks, "maps/layers": layers, "maps/invertibility": predicted.half(), "code": torch.zeros(1)}


def test_layers_are_in_order_and_partition_the_pixels():
    found = planes([image(0.5), image(1.0)], "Z+")
    names = ["Z+", "b8.out", "b16.out"]
    assert list(found) == [f"{word} {name}" for name in names for word in ("map of", "in")]
    for i in range(2):
        assert (sum(found[f"in {name}"][i] for name in names) == 1).all()
        masks = image(1.0)
        assert (found["in b16.out"][i] == masks["maps/mask/b16.out"][0].numpy()).all()


def test_maps_share_the_scale_of_the_run():
    found = planes([image(0.5), image(1.0)], "Z+")
    assert found["map of Z+"][1].max() == 1.0 and abs(found["map of Z+"][0].max() - 0.5) < 1e-3
    assert abs(found["map of b8.out"][1].max() - 0.5) < 1e-3


def test_other_runs_have_none():
    assert planes([{"code": torch.zeros(1)}], "Z+") == {} and planes([], "Z+") == {}
