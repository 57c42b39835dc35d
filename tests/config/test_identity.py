"""A run is named by what moves its numbers, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from zinv.config import compose, identity, run_folder, run_id, slug
from zinv.errors import WeightsError


@pytest.mark.usefixtures("lab")
class TestIdentity:
    @pytest.mark.parametrize(
        "override",
        [
            "name=x", "runs=elsewhere", "trace=5", "data.num=2", "data.batch_size=4", "data.num_workers=2",
            "trainer=cpu", "trainer.devices=2", "trainer=ddp", "logger=wandb", "protocol.name=other",
        ],
    )  # fmt: skip
    def test_does_not_count(self, override: str):
        assert run_id(compose([override])) == run_id(compose())

    @pytest.mark.parametrize(
        "override",
        ["seed=1", "space=ball", "space.cutoff=2", "method.lr=.1", "loss=net", "loss.options.mse.power=1",
         "loss.terms.mse=2", "generator.seed=2", "data.resolution=8"],
    )  # fmt: skip
    def test_counts(self, override: str):
        assert run_id(compose([override])) != run_id(compose())

    def test_precision_counts(self):
        config = compose()
        config["trainer"]["precision"] = "float64"
        assert run_id(config) != run_id(compose())

    def test_a_preset_and_the_same_class_by_its_path_are_one_run(self):
        assert run_id(compose(["space=mylab.parts.Sphere"])) == run_id(compose(["space=sphere"]))
        assert run_id(compose(["space=mylab.parts.Sphere", "space.radius=.5", "space.mode=none"])) == run_id(
            compose(["space=ball"])
        )

    def test_the_path_of_a_folder_does_not_count(self):
        first, second = (compose(["data=folder", f"data.path={path}"]) for path in "ab")
        assert run_id(first) == run_id(second)

    def test_weights_count_by_content(self, lab: Path):
        for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
            (lab / name).write_bytes(content)
        a, b, c = (run_id(compose([f"generator.weights={name}"])) for name in "abc")
        assert a == b != c
        assert identity(compose(["generator.weights=a"]))["generator"]["weights"].startswith("sha256:6b86b273")

    def test_weights_of_a_term_count_by_content(self, lab: Path):
        (lab / "net.pt").write_bytes(b"1")
        found = identity(compose(["loss=net", "loss.options.net.weights=net.pt"]))
        assert found["loss"]["options"]["net"]["weights"].startswith("sha256:")

    def test_words_that_name_no_file_count_as_they_are(self):
        found = identity(compose(["loss=net"]))
        assert found["space"]["statistics"] == "auto"
        assert found["loss"]["options"]["net"]["weights"] == "random/net"

    def test_missing_weights_are_an_error(self):
        with pytest.raises(WeightsError, match="nowhere: no such weight file"):
            identity(compose(["generator.weights=nowhere"]))

    def test_the_id_is_pinned(self):
        """A change here renames every run that anyone has."""
        assert run_id(compose()) == "f746ca15"

    def test_slug_and_folder(self):
        config = compose(["space=mylab.parts.Sphere", "runs=out"])
        assert slug(config) == "descent-sphere-toy"
        assert run_folder(config) == Path("out/descent-sphere-toy") / run_id(config)
