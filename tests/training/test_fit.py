"""Fitting anything: the same losses after a kill as without one, the card, the log."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn, optim

from zinv.errors import ConfigError
from zinv.training.base import Batch, Trainee, epoch_order, step_rng
from zinv.training.fit import fit


class Line(Trainee):
    """Fits a plane.

    More words that no card shows.
    """

    name = "line"

    def __init__(
        self, num_steps: int = 20, batch_size: int = 4, die: int | None = None, number: int = signal.SIGKILL
    ) -> None:
        super().__init__(num_steps, batch_size, precision="32-true")
        torch.manual_seed(0)
        self.net, self.die, self.number = nn.Linear(3, 1), die, number

    def batch(self, step: int) -> Batch:
        everyone = torch.randn(self.batch_size, 3, generator=step_rng(self.seed, step))
        return (everyone[self.global_rank :: self.trainer.world_size],)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.step == self.die:
            os.kill(os.getpid(), self.number)
        loss = (self.net(batch[0]) - batch[0].sum(1, keepdim=True)).square().mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> optim.Optimizer:
        return optim.Adam(self.parameters(), 0.05)

    def export(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        return self.net.state_dict(), {"kind": "line"}

    def measure(self) -> dict[str, float]:
        return {"weight": float(self.net.weight.sum())}

    def samples(self) -> Tensor:
        return torch.zeros(4, 3, 8, 8)


def run(
    folder: Path,
    die: int | None = None,
    num_steps: int = 20,
    devices: int = 1,
    number: int = signal.SIGKILL,
    minutes: float = 0.0,
) -> Path:
    trainee = Line(die=die, num_steps=num_steps, number=number)
    return fit(trainee, folder, "cpu", devices, checkpoint_minutes=minutes, log_steps=1)


def run_alone(folder: Path, **arguments: int) -> subprocess.CompletedProcess[bytes]:
    """`run` in a process of its own, since it is killed or starts others."""
    return subprocess.run([sys.executable, __file__, str(folder), json.dumps(arguments)], check=False)


def losses(folder: Path) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows]


def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, killed = run(tmp_path / "whole"), tmp_path / "killed"
    died = run_alone(killed, die=13)
    assert died.returncode == -signal.SIGKILL and not (killed / "card.json").exists()
    (killed / ".last.ckpt").write_bytes(b"half a checkpoint")
    assert run(killed).read_bytes() == whole.read_bytes()
    assert losses(killed) == losses(tmp_path / "whole")
    assert [step for step, _ in losses(killed)] == list(range(1, 21))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_training_that_is_told_to_stop_saves_first_and_goes_on_from_there(tmp_path: Path, number: int) -> None:
    """Preempted with a notice, long before the next checkpoint is due."""
    whole, told = run(tmp_path / "whole"), tmp_path / "told"
    stopped = run_alone(told, die=13, number=number, minutes=1000)
    assert stopped.returncode == 1 and not (told / "card.json").exists()
    assert torch.load(told / "last.ckpt", weights_only=False)["global_step"] == 14
    assert run(told, minutes=1000).read_bytes() == whole.read_bytes()
    assert losses(told) == losses(tmp_path / "whole")


def test_who_listened_before_hears_of_the_signal_after_the_checkpoint(tmp_path: Path) -> None:
    """A job of a plan keeps on record that it was preempted."""
    heard: list[bool] = []

    def stop(number: int, _: object) -> None:
        heard.append((tmp_path / "last.ckpt").is_file())
        raise TimeoutError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(TimeoutError):
            run(tmp_path, die=3, number=signal.SIGTERM, minutes=1000)
        assert heard == [True] and signal.getsignal(signal.SIGTERM) is stop
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
def test_two_devices_share_the_batch_of_one(tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", num_steps=8), tmp_path / "two"
    assert run_alone(two, num_steps=8, devices=2).returncode == 0
    expected, found = (load_file(file)["weight"] for file in (one, two / one.name))
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    assert "2 x CPU" in (two / "card.md").read_text()


def test_the_card_tells_how_it_was_made(tmp_path: Path) -> None:
    file = run(tmp_path, num_steps=3)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["what"] == "Fits a plane." and card["kind"] == "line"
    assert (card["steps"], card["batch_size"], card["parameters"]) == (3, 4, 4)
    with safe_open(str(file), "pt") as tensors:
        assert tensors.get_tensor("weight").dtype == torch.float16
        assert card["measured"]["weight"] == pytest.approx(float(tensors.get_tensor("weight").sum()), abs=1e-2)
    assert "| weight | " in (tmp_path / "card.md").read_text()
    assert [path.name for path in sorted((tmp_path / "samples").iterdir())][-1] == "0000003.png"


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    before = run(tmp_path, num_steps=2).stat().st_mtime_ns
    assert run(tmp_path, num_steps=2, die=0).stat().st_mtime_ns == before


def test_a_batch_must_divide_among_the_devices(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.batch_size=5: not a multiple of 2 devices\."):
        fit(Line(batch_size=5), tmp_path, accelerator="cpu", devices=2)


def test_an_epoch_passes_over_everything_once_in_its_own_order() -> None:
    epochs = [torch.cat([epoch_order(12, step, 4, seed=0) for step in range(3 * e, 3 * e + 3)]) for e in (0, 1)]
    assert all(sorted(epoch.tolist()) == list(range(12)) for epoch in epochs)
    assert not torch.equal(*epochs)


def test_a_steps_draws_depend_on_seed_step_and_rank_alone() -> None:
    draws = [torch.rand(2, generator=step_rng(*key)).tolist() for key in [(0, 1, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1)]]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) == 3


if __name__ == "__main__":
    run(Path(sys.argv[1]), **json.loads(sys.argv[2]))
