"""Configurations that cannot be built say why in one line."""

import pytest

from kronos_ft.models.configuration_kronos import KronosTokenizerConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"group_size": 3}, r"group_size=3 does not divide s1_bits \+ s2_bits = 20; use one of \[1, 2, 4, 5, 10, 20\]"),
        ({"d_model": 250}, "d_model=250 is not a multiple of 2 x n_heads=4"),
        ({"n_heads": 0}, "n_heads=0 must be at least 1"),
        ({"s1_bits": 24, "group_size": 2}, "s1_bits=24 exceeds 20 bits"),
    ],
)
def test_contradictions_are_refused(values, message):
    with pytest.raises(ValueError, match=message) as error:
        KronosTokenizerConfig(**values)
    assert "\n" not in str(error.value)


def test_named_sizes():
    base, two_k = KronosTokenizerConfig.from_size("base"), KronosTokenizerConfig.from_size("2k")
    differing = {key for key in base.published_keys() if getattr(base, key) != getattr(two_k, key)}
    assert differing == {"group_size"}
    assert (base.group_size, two_k.group_size, base.codebook_dim) == (4, 5, 20)
    with pytest.raises(ValueError, match=r"size='huge' is not a tokenizer size; use one of \['2k', 'base', 'tiny'\]"):
        KronosTokenizerConfig.from_size("huge")
