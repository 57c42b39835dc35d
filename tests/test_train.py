"""`zinv train` from overrides to a run folder."""

import json
from pathlib import Path

import pytest

from zinv.config import load
from zinv.errors import ConfigError
from zinv.generators.toy import toy_stylegan2
from zinv.spaces.statistics import PNStatistics
from zinv.train import train

QUICK = ["generator=toy", "trainer.accelerator=cpu"]


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
