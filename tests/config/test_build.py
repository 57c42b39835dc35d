"""Parts are made of settings and of the parts that their constructors ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from zinv.config import build, compose
from zinv.errors import ConfigError


def test_settings_and_parts_reach_the_constructor(lab: Path):
    config = compose(["method.sizes=16,32", "method.file=a/b", "generator.seed=5"])
    generator, space = build(config, "generator"), build(config, "space")
    loss = build(config, "loss")
    method = build(config, "method", anything=generator, space=space, loss=loss)
    assert (method.generator, method.space, method.loss) == (generator, space, loss)
    assert (method.sizes, method.file, generator.seed) == ((16, 32), Path("a/b"), 5)


def test_a_function_builds_too(lab: Path):
    assert build(compose(["generator=bare", "data=pictures", "protocol=scores"]), "generator").seed == 16


def test_an_optional_part_keeps_its_default(lab: Path):
    config = compose()
    method = build(config, "method", generator=build(config, "generator"), space=build(config, "space"))
    assert method.loss is None


def test_of_two_parts_of_a_kind_the_name_decides(lab: Path):
    config = compose()
    first, second, space = build(config, "generator"), build(config, "generator"), build(config, "space")
    assert build(config, "method", tuned=first, generator=second, space=space).generator is second


def test_settings_of_a_group_are_set_on_parts_that_do_not_take_them(lab: Path):
    assert build(compose(["data.batch_size=4"]), "data").batch_size == 4


def test_terms_get_their_options(lab: Path):
    loss = build(compose(["loss=net", "loss.options.net.size=32"]), "loss")
    assert loss.options["net"] == {"_target_": "mylab.parts.Net", "weights": "random/net", "size": 32}


def test_a_missing_part_is_named(lab: Path):
    with pytest.raises(ConfigError, match="method=descent: it needs a Generator, which this command has not."):
        build(compose(), "method")


def test_a_value_that_the_constructor_refuses(lab: Path):
    with pytest.raises(ConfigError, match="space=sphere: radius=-1.0: not positive."):
        build(compose(["space.radius=-1"]), "space")


def test_the_trainer_is_a_dataclass_of_settings():
    from zinv.config.settings import RunTrainer

    config = {"trainer": {"_target_": "zinv.config.settings.RunTrainer", "devices": "auto"}}
    assert build(config, "trainer") == RunTrainer(devices="auto")
