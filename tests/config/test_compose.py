"""Overrides, presets and constructors make one configuration; every mistake has a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from zinv.config import TRAIN_GROUPS, compose, load, save
from zinv.config.schema import PARTS
from zinv.errors import ConfigError


def message(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("lab")
class TestChoices:
    def test_every_default_is_written_out_with_the_name_of_the_choice(self):
        space = {"radius": 1.0, "mode": "explicit", "cutoff": None, "statistics": "auto"}
        assert compose()["space"] == {"_name_": "sphere", "_target_": "mylab.parts.Sphere", **space}

    def test_groups_and_run_settings_are_complete(self):
        parts = ["generator", "space", "method", "loss", "data", "protocol", "trainer", "logger", "store"]
        assert list(compose()) == ["name", "seed", "runs", "trace", "start", *parts]

    def test_a_preset_departs_from_the_constructor_and_an_override_from_the_preset(self):
        assert compose(["space=ball"])["space"]["radius"] == 0.5
        assert compose(["space=ball", "space.radius=3"])["space"]["radius"] == 3.0

    def test_the_order_of_overrides_does_not_matter(self):
        assert compose(["space.radius=3", "space=ball"]) == compose(["space=ball", "space.radius=3"])

    def test_a_dotted_choice_is_a_class_of_the_working_folder_with_its_defaults(self):
        space = compose(["space=mylab.parts.Sphere", "space.radius=3"])["space"]
        assert space["_name_"] == "mylab.parts.Sphere"
        assert (space["radius"], space["mode"]) == (3.0, "explicit")

    def test_a_dotted_choice_may_be_a_function_that_says_what_it_returns(self):
        config = compose(["generator=mylab.parts.make_toy", "data=pictures", "protocol=scores"])
        assert config["generator"]["resolution"] == 16

    def test_a_generator_suggests_data_loss_and_protocol(self):
        assert compose()["data"]["_name_"] == "pictures"
        assert compose()["loss"]["_name_"] == "pixel"

    def test_an_explicit_choice_wins_over_a_suggestion(self):
        assert compose(["loss=net"])["loss"]["_name_"] == "net"

    def test_without_suggestions_the_defaults_file_counts(self):
        config = compose(["generator=bare", "protocol=scores", "data.path=p"])
        assert (config["data"]["_name_"], config["loss"]["_name_"]) == ("folder", "net")

    def test_a_model_brings_the_groups_that_its_constructor_asks_for(self):
        config = compose(["model=fitting", "seed=3"], {"trainer": "fit"}, TRAIN_GROUPS)
        assert [group for group in config if group in PARTS] == ["generator", "model", "trainer", "logger"]
        assert config["model"]["seed"] == 3

    def test_each_data_source_has_batch_size_and_workers(self):
        assert compose(["data.batch_size=4"])["data"]["batch_size"] == 4

    def test_what_was_saved_is_read_again_and_can_be_changed(self, lab: Path):
        config = compose(["space=ball", "loss=net", "method.sizes=[16]", "name=none", "logger=none"])
        save(config, lab / "config.yaml")
        assert load(lab / "config.yaml") == config
        assert compose((), load(lab / "config.yaml")) == config
        changed = compose(["space.cutoff=2", "loss.terms.net=null"], load(lab / "config.yaml"))
        assert changed["space"] == {**config["space"], "cutoff": 2}
        assert changed["loss"]["terms"] == {"mse": 1.0}

    def test_a_new_choice_replaces_all_of_the_old_one(self):
        assert compose(["space=sphere"], compose(["space=ball"])) == compose(["space=sphere"])


@pytest.mark.usefixtures("lab")
class TestValues:
    @pytest.mark.parametrize(
        ("override", "value"),
        [
            ("method.lr=1e-3", 0.001),
            ("method.lr=1", 1.0),
            ("method.num_steps=1e3", 1000),
            ("method.keep=true", True),
            ("method.sizes=[16, 32]", [16, 32]),
            ("method.sizes=16,32", [16, 32]),
            ("method.sizes=16", [16]),
            ("method.ids=[005735, b]", ["005735", "b"]),
            ("method.ids=null", None),
            ("method.every=all", "all"),
            ("method.every=3", 3),
            ("method.file=some/where", "some/where"),
            ("space.mode=none", "none"),
            ("space.cutoff=none", None),
            ("space.cutoff=7", 7),
            ("loss.terms={mse: .5}", {"mse": 0.5}),
        ],
    )
    def test_text_becomes_what_the_annotation_says(self, override: str, value: object):
        group, key = override.partition("=")[0].split(".")
        found = compose([override])[group][key]
        assert (found, type(found)) == (value, type(value))

    def test_a_value_may_name_another(self):
        assert compose(["name=${space._name_}-${seed}", "seed=3"])["name"] == "sphere-3"
        assert compose(["method.num_steps=${data.num}"])["method"]["num_steps"] == 4

    def test_a_text_stays_text(self):
        assert compose(["name=007"])["name"] == "007"


@pytest.mark.usefixtures("lab")
class TestTerms:
    def test_all_arguments_of_each_term_are_written_out(self):
        assert compose(["loss=net"])["loss"]["options"] == {
            "mse": {"_target_": "mylab.parts.Pixel", "power": 2.0},
            "net": {"_target_": "mylab.parts.Net", "weights": "random/net", "size": 64},
        }

    def test_terms_are_added_changed_and_removed_by_key(self):
        loss = compose(["loss.terms.mse=2", "loss.terms.mylab.parts.Net=.1"])["loss"]
        assert loss["terms"] == {"mse": 2.0, "mylab.parts.Net": 0.1}
        loss = compose(["loss=net", "loss.terms.net=null"])["loss"]
        assert (loss["terms"], list(loss["options"])) == ({"mse": 1.0}, ["mse"])

    def test_options_are_typed_by_the_term(self):
        overrides = ["loss.terms.mylab.parts.Net=1", "loss.options.mylab.parts.Net.size=128"]
        assert compose(overrides)["loss"]["options"]["mylab.parts.Net"]["size"] == 128

    def test_whole_mappings_come_before_their_items(self):
        overrides = ["loss.terms.mse=5", "loss.terms={mse: 1, net: 2}"]
        assert compose(overrides)["loss"]["terms"] == {"mse": 5.0, "net": 2.0}

    def test_a_loss_need_not_have_terms(self):
        assert compose(["loss=mylab.parts.Own"])["loss"] == {"_name_": "mylab.parts.Own", "_target_": "mylab.parts.Own"}

    @pytest.mark.parametrize(
        ("override", "expected"),
        [
            ("loss.terms.nett=1", "loss.terms.nett=1: there is no such term. Did you mean 'net'?"),
            ("loss.terms.mse=a", "loss.terms.mse=a: not a float."),
            ("loss.terms.mes=null", "loss.terms.mes=null: there is nothing to remove. Did you mean 'mse'?"),
            ("loss.terms=mse", "loss.terms=mse: name at least one term."),
            ("loss.terms.mylab.parts.Toy=1", "loss.terms.mylab.parts.Toy: it is not a LossTerm."),
            ("loss.options.net.size=2", "loss.options.net.size=2: there is no such term here. Choose from: mse."),
            ("loss.options.mse.power=x", "loss.options.mse.power=x: not a float."),
            ("loss.options.mse.pover=1", "loss.options.mse.pover=1: no such key. Did you mean 'power'?"),
        ],
    )
    def test_mistakes(self, override: str, expected: str):
        assert message(override).startswith(expected)


@pytest.mark.usefixtures("lab")
class TestMistakes:
    @pytest.mark.parametrize(
        ("override", "expected"),
        [
            ("method.lr=abc", "method.lr=abc: not a float."),
            ("method.lr=nan", "method.lr=nan: not a float."),
            ("method.lr=true", "method.lr=true: not a float."),
            ("method.num_steps=1.5", "method.num_steps=1.5: not an int."),
            ("method.keep=maybe", "method.keep=maybe: not a bool."),
            ("method.sizes=[4,x]", "method.sizes[1]=x: not an int."),
            ("method.every=some", "method.every=some: not an int or all."),
            ("space.cutoff=1.5", "space.cutoff=1.5: not an int or null."),
            ("seed=a", "seed=a: not an int."),
            ("data=folder", "data.path: not given. Add data.path=VALUE, a str."),
            ("space.mylab=1", "space.mylab=1: no such key. Choose from: cutoff, mode, radius, statistics."),
            ("method.lr.x=1", "method.lr.x=1: no such key. method.lr is a float."),
            ("space", "space: not a key=value such as space=zplus."),
            ("=3", "=3: not a key=value"),
            ("name=${spac}", "name: cannot be resolved (Interpolation key 'spac' not found)."),
        ],
    )
    def test_bad_values(self, override: str, expected: str):
        assert message(override).startswith(expected)

    def test_a_literal_says_its_choices(self):
        expected = "space.mode=explict: unknown choice. Did you mean 'explicit'? Choose from: explicit, implicit, none."
        assert message("space.mode=explict") == expected

    def test_an_unknown_key_has_the_nearest_name(self):
        assert message("method.lrr=0.05").startswith("method.lrr=0.05: no such key. Did you mean 'lr'? Choose from: ")

    def test_parts_are_not_settings(self):
        assert message("method.generator=toy").startswith("method.generator=toy: no such key.")

    def test_an_unknown_group_has_the_nearest_name(self):
        assert message("methd=descent").startswith("methd=descent: no such key. Did you mean 'method'?")

    def test_a_group_of_another_command_is_no_key(self):
        assert message("model=fitting").startswith("model=fitting: no such key.")

    def test_an_unknown_preset_has_the_nearest_name(self):
        expected = "space=zplu: there is no such preset. Did you mean 'zplus'? Choose from: "
        assert message("space=zplu").startswith(expected)
        assert "sphere" in message("space=zplu")

    def test_a_class_of_another_kind(self):
        assert message("space=Generator") == "space=Generator: it is not a LatentSpace."
        assert message("space=mylab.parts.Toy") == "space=mylab.parts.Toy: it is not a LatentSpace."
        assert message("space=mylab.parts.make_toy") == "space=mylab.parts.make_toy: it is not a LatentSpace."
        assert message("space=mylab.parts.not_a_class") == "space=mylab.parts.not_a_class: it is not a LatentSpace."

    def test_an_abstract_class(self):
        assert "it is abstract" in message("space=mylab.parts.LatentSpace")

    def test_a_path_that_cannot_be_imported(self, lab: Path):
        expected = "space=mylab.part.Sphere: mylab.part cannot be imported (No module named 'mylab.part')."
        assert message("space=mylab.part.Sphere") == expected
        assert message("space=mylab.parts.Spere").startswith(
            "space=mylab.parts.Spere: mylab.parts has no 'Spere'. Did you mean 'Sphere'?"
        )
        (lab / "mylab" / "broken.py").write_text("import nothing_of_the_kind")
        assert "No module named 'nothing_of_the_kind'" in message("space=mylab.broken.Sphere")

    def test_a_key_given_twice(self):
        expected = "space.radius=2: given twice, before as space.radius=1."
        assert message("space.radius=1", "space.radius=2") == expected

    def test_a_preset_with_an_unknown_key(self):
        assert message("space=wrong").startswith("space=wrong: its radios=2: no such key. Did you mean 'radius'?")

    def test_a_group_without_a_choice(self, lab: Path):
        path = lab / "configs" / "default.yaml"
        path.write_text(path.read_text().replace("sphere", "null"))
        assert message().startswith("space: choose one with space=NAME.")

    def test_a_base_with_an_unknown_key(self):
        with pytest.raises(ConfigError, match="spaces=z: no such key. Did you mean 'space'?"):
            compose((), {"spaces": "z"})
