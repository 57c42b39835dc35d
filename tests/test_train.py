"""`zinv train` from overrides to a run folder."""

import json
from pathlib import Path

import pytest

from zinv.config import load
from zinv.data.sources import Toy
from zinv.errors import ConfigError, DataError
from zinv.generators import load_generator
from zinv.generators.toy import toy_stylegan2
from zinv.images import write_png
from zinv.spaces.statistics import PNStatistics
from zinv.train import configure, train, training_folder

QUICK = ["generator=toy", "trainer.accelerator=cpu"]
NETWORKS = ["model.resolution=16", "model.channels=[8,8,8]", "model.z_dim=8", "model.w_dim=8", "model.batch_size=4"]
PRIOR = ["model=generator", *NETWORKS]


def test_statistics_are_made_once_and_anew_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["model=pnorm", "model.num=20000", f"runs={tmp_path}", *QUICK]
    assert train(command) == 0
    file = Path(capsys.readouterr().out.strip())
    assert file.parent.parent == tmp_path / "train" and file.parent.name.startswith("pnorm-toy-")
    PNStatistics.load(str(file)).check(toy_stylegan2())
    assert json.loads((file.parent / "card.json").read_text())["measured"]["whitened_mean_square"] == pytest.approx(
        1, abs=0.1
    )
    assert load(file.parent / "config.yaml")["model"]["num"] == 20000
    before = file.stat().st_mtime_ns
    train(command)
    assert file.stat().st_mtime_ns == before
    train(command, fresh=True)
    assert file.stat().st_mtime_ns > before


def test_an_encoder_takes_its_generator_and_loss_from_their_groups(tmp_path: Path) -> None:
    steps = ["model.num_steps=2", "model.batch_size=2", "model.width=4"]
    assert train(["model=base_code", "loss=pixel", *steps, f"runs={tmp_path}", *QUICK]) == 0
    assert len(list(tmp_path.glob("train/base_code-toy-*/base_code.safetensors"))) == 1


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model=pnrom", r"model=pnrom: there is no such preset\. Did you mean 'pnorm'\?"),
        ("model.nun=3", r"model\.nun=3: no such key\. Did you mean 'num'\?"),
        ("trainer=cpu", r"trainer=cpu: for inversion runs; zinv train takes trainer=fit\."),
    ],
)
def test_mistakes_name_the_key(tmp_path: Path, override: str, words: str) -> None:
    model = [] if override.startswith("model=") else ["model=pnorm"]
    with pytest.raises(ConfigError, match=words):
        train([*model, override, f"runs={tmp_path}", "generator=toy"])


def test_the_seed_of_the_command_is_the_models(tmp_path: Path) -> None:
    train(["model=pnorm", "model.num=1000", "seed=5", f"runs={tmp_path}", *QUICK])
    (card,) = tmp_path.glob("train/*/card.json")
    assert json.loads(card.read_text())["seed"] == 5


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five pictures."""
    (tmp_path / "photos").mkdir()
    for i, name in enumerate("abcde"):
        write_png(Toy(5, resolution=24).image(i), tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def test_a_generator_learns_the_pictures_of_a_folder(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["data=folder", f"data.path={photos}", "model.num_images=8"]
    assert train([*PRIOR, *data, f"runs={tmp_path}", "trainer.accelerator=cpu"]) == 0
    file = Path(capsys.readouterr().out.strip())
    assert load_generator(str(file)).resolution == 16
    assert [path.name for path in (file.parent / "samples").iterdir()] == ["0000002.png"]
    assert len(list(file.parent.glob("renders-*/00000000.npy"))) == 1


def test_a_generator_learns_portraits_of_the_train_split_unless_told_otherwise() -> None:
    def data(*overrides: str) -> dict[str, object]:
        entry = configure(["model=generator", *overrides])["data"]
        return {key: entry[key] for key in entry if not key.startswith("_")}

    portraits = {"split": "train", "num": 40_000, "start": 0, "resolution": 64}
    assert data() == data("data=portraits") == portraits
    assert data("data.num=5", "model.resolution=16") == {**portraits, "num": 5, "resolution": 16}
    assert data("data=portraits", "data.split=tune")["split"] == "tune"
    assert data("data=toy") == {"num": 4, "resolution": 16}


def test_a_training_is_named_by_its_pictures_and_not_by_where_they_lie(tmp_path: Path, photos: Path) -> None:
    def named(*overrides: str) -> str:
        return training_folder(configure([*PRIOR, "data=folder", *overrides])).name

    here = named(f"data.path={photos}")
    moved = photos.rename(tmp_path / "moved")
    assert named(f"data.path={moved}", "model.renders=cache", "model.processes=2") == here
    others = [f"data.path={moved}", "data.num=4"], [f"data.path={moved}", "model.mirror=true"]
    assert here not in {named(*other) for other in others}
    write_png(Toy(9, resolution=24).image(8), moved / "c.png")
    assert named(f"data.path={moved}") != here


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data=toy", "data.resolution=32"], "data.resolution=32: the generator makes pictures of 16 pixels."),
        (["data=toy", "data.num=3"], "model.batch_size=4: more than the data have pictures to train on, 3."),
        (["data=folder", "data.path=nowhere"], "data.path=nowhere: there is no such folder."),
        (["data=toy", "data.batch_size=8"], "data.batch_size: zinv train loads batches by model.batch_size and "),
    ],
)
def test_data_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path: Path, overrides: list[str], words: str
) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        train([*PRIOR, *overrides, f"runs={tmp_path / 'runs'}"])
    assert str(caught.value).startswith(words)
    assert not (tmp_path / "runs").exists()


def test_a_model_without_data_takes_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data=toy: no such key\."):
        configure(["model=identity", "data=toy"])
