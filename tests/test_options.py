"""What users are told of a bad option."""

from __future__ import annotations

import pytest

from benchmarl_reciprocator.tasks.options import check_option, one_of


def test_a_bad_option_is_a_sentence_and_a_good_one_nothing() -> None:
    check_option("task.max_steps", 1, True, "an integer >= 1")
    with pytest.raises(ValueError, match=r"^task\.max_steps must be an integer >= 1, but is 0$"):
        check_option("task.max_steps", 0, False, "an integer >= 1")


@pytest.mark.parametrize(
    ("choices", "expected"),
    [(["a"], "a"), (["a", "b"], "a or b"), ({"a": 0, "b": 1, "c": 2}, "a, b or c"), ([4, 5], "4 or 5")],
)
def test_choices_are_named_as_a_sentence_does(choices: list, expected: str) -> None:
    assert one_of(choices) == expected
