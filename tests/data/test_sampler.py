import lightning as L
import pytest
import torch

from zinv.data.loading import ImageModule
from zinv.data.sampler import RankBatches, shares
from zinv.data.sources import Toy
from zinv.errors import DataError


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("num", [0, 1, 5, 6])
def test_each_item_is_given_once_and_evenly(num, num_ranks):
    parts = [shares(range(num), num_ranks, rank) for rank in range(num_ranks)]
    assert sorted(sum(parts, [])) == list(range(num))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_ranks_step_equally_and_see_each_image_once(num_ranks, batch_size):
    source = Toy(num=5)
    ranks = [list(RankBatches(source, source.ids, batch_size, num_ranks, rank)) for rank in range(num_ranks)]
    assert len({len(batches) for batches in ranks}) == 1
    seen = [name for batches in ranks for batch in batches for name in batch.ids]
    assert sorted(seen) == sorted(source.ids)
    assert all(batch.target.shape == (len(batch.ids), 3, 16, 16) for batches in ranks for batch in batches)


def test_a_rank_with_nothing_left_gets_empty_batches():
    source = Toy(num=5)
    batches = list(RankBatches(source, ["toy-00004"], num_ranks=2, rank=1))
    assert [(batch.ids, batch.target.shape[0]) for batch in batches] == [([], 0)]
    assert len(RankBatches(source, [], num_ranks=2, rank=1)) == 0


def test_rows_are_the_pictures_of_their_ids():
    source = Toy(num=5)
    for batch in RankBatches(source, list(source.ids)[::-1], batch_size=2):
        for name, row in zip(batch.ids, batch.target, strict=True):
            assert torch.equal(row, source.image(source.ids.index(name)))


def test_failures_have_no_row(tmp_path):
    class Broken(Toy):
        def image(self, index):
            if index == 1:
                raise DataError("torn")
            return super().image(index)

        def note(self, index):
            return "first" if index == 0 else ""

    (batch,) = RankBatches(Broken(num=3), ["toy-00000", "toy-00001", "toy-00002"], batch_size=3)
    assert batch.ids == ["toy-00000", "toy-00002"] and batch.target.shape[0] == 2
    assert batch.failures == {"toy-00001": "torn"} and batch.notes == {"toy-00000": "first"}


def test_workers_read_the_same_batches():
    module = ImageModule(Toy(num=3), batch_size=2, num_workers=1)
    assert [batch.ids for batch in module.predict_dataloader()] == [["toy-00000", "toy-00001"], ["toy-00002"]]


class _Seen(L.LightningModule):
    """Writes down the ids of each batch, by rank."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def test_step(self, batch, batch_idx):
        assert batch.target.device == self.device
        with open(self.folder / f"rank{self.global_rank}", "a") as file:
            file.write("".join(f"{name}\n" for name in batch.ids) + "-\n")

    predict_step = test_step


def _trainer(folder, devices):
    return L.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp_fork" if devices > 1 else "auto",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("verb", ["test", "predict"])
def test_lightning_gives_one_process_what_is_left(tmp_path, verb):
    module = ImageModule(Toy(num=4), finished=lambda: {"toy-00001"}, batch_size=2)
    getattr(_trainer(tmp_path, 1), verb)(_Seen(tmp_path), datamodule=module)
    lines = (tmp_path / "rank0").read_text().split()
    assert lines == ["toy-00000", "toy-00002", "-", "toy-00003", "-"]


def test_more_devices_than_images_is_an_error(tmp_path):
    module = ImageModule(Toy(num=1))
    module.trainer = type("T", (), {"world_size": 2, "global_rank": 0})()
    with pytest.raises(DataError, match="trainer.devices=2: there are only 1 images"):
        module.test_dataloader()


@pytest.mark.filterwarnings("ignore")
def test_two_processes_share_what_is_left(tmp_path):
    module = ImageModule(Toy(num=5), finished=lambda: {"toy-00000", "toy-00001"})
    _trainer(tmp_path, 2).test(_Seen(tmp_path), datamodule=module)
    ranks = [(tmp_path / f"rank{rank}").read_text().split() for rank in (0, 1)]
    assert ranks == [["toy-00002", "-", "toy-00004", "-"], ["toy-00003", "-", "-"]]
