"""Lists and ranges as command lines give them."""

import pytest

from wse.errors import ConfigError
from wse.ranges import MAX_VALUES, parse_ranges


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("8", [8]),
        ("8,16,32", [8, 16, 32]),
        ("1-4", [1, 2, 3, 4]),
        ("1-9+2", [1, 3, 5, 7, 9]),
        ("1-8+2", [1, 3, 5, 7]),
        ("16-128*2", [16, 32, 64, 128]),
        ("16-100*2", [16, 32, 64]),
        ("5-5", [5]),
        ("0", [0]),
        ("0-2", [0, 1, 2]),
        (" 3 , 1-2 ", [3, 1, 2]),
        ("4,1-4", [4, 1, 2, 3]),
    ],
)
def test_values_once_each_in_the_order_written(text, values):
    assert parse_ranges(text) == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot read ''"),
        ("8,", "cannot read ''"),
        ("a", "cannot read 'a'"),
        ("-3", "cannot read '-3'"),
        ("1.5", "cannot read"),
        ("1-4-2", "cannot read"),
        ("8*2", "cannot read"),
        ("4-1", "ends before it begins"),
        ("1-4+0", "never reaches"),
        ("1-4*1", "never reaches"),
        ("0-4*2", "never reaches"),
        (f"1-{MAX_VALUES + 1}", "more than"),
    ],
)
def test_what_is_no_list_is_refused_naming_the_option(text, words):
    with pytest.raises(ConfigError, match=words) as error:
        parse_ranges(text, "--n-gen")
    assert error.value.message.startswith("--n-gen: ")
