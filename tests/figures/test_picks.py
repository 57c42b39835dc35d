import pytest

from zinv.errors import ConfigError, DataError
from zinv.figures.picks import parse, pick, words

SCORES = dict(zip("abcdefg", [7.0, 1.0, 4.0, 2.0, 6.0, 3.0, 5.0], strict=True))


def test_rules_choose_by_the_scores():
    assert pick(parse("worst:2,median:2,best:2"), "abcdefg", SCORES) == ["b", "d", "c", "f", "a", "e"]
    assert pick(parse("first:3"), "abcdefg") == ["a", "b", "c"]


def test_an_image_is_picked_once():
    assert pick(parse("median:1,worst:3,best:3"), "abcdefg", SCORES) == ["c", "b", "d", "f", "a", "e", "g"]


def test_a_seed_draws_the_same_images_again():
    assert pick(parse("seed7:4"), "abcdefg") == pick(parse("seed7:4"), "abcdefg")
    assert len({tuple(pick(parse(f"seed{i}:4"), "abcdefg")) for i in range(9)}) > 4


def test_the_rule_is_put_in_words():
    told = words(parse("worst:2,median:1,best:1,seed3:2"), 16, "F/Z+ minus F/W+ in MSE")
    assert told == "Of 16 images, by F/Z+ minus F/W+ in MSE: the 2 worst, the median, the best, 2 drawn with seed 3."


def test_what_is_no_rule_is_refused():
    with pytest.raises(ConfigError, match="--pick wrost: there is no such rule. Did you mean 'worst'?"):
        parse("wrost:2")
    with pytest.raises(ConfigError, match="--pick best: how many images\\? Write best:2"):
        parse("best")
    with pytest.raises(DataError, match="--pick: 9 images are asked for, and there are 7"):
        pick(parse("best:9"), "abcdefg", SCORES)
