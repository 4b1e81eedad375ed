"""Drawing tokens: what is kept, what is drawn, and from which random numbers."""

import pytest
import torch

from kronos_ft.forecasting.sampling import Sampler, SeededSampler, keep_likely


def kept(logits, **settings):
    return torch.isfinite(keep_likely(torch.tensor([logits]), **{"top_k": 0, "top_p": 1.0, **settings}))[0].tolist()


def test_top_k_keeps_ties_with_the_last():
    assert kept([3.0, 1.0, 2.0, 2.0], top_k=2) == [True, False, True, True]
    assert kept([3.0, 1.0], top_k=9) == [True, True]


def test_top_p_keeps_the_token_that_crosses_the_threshold():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().tolist()
    assert kept(logits, top_p=0.6) == [True, True, False, False]
    assert kept(logits, top_p=0.81) == [True, True, True, False]
    assert kept(logits, top_p=1e-6) == [True, False, False, False]


def test_top_k_replaces_top_p():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().tolist()
    assert kept(logits, top_k=3, top_p=0.1) == [True, True, True, False]


def test_greedy_takes_the_likeliest():
    logits = torch.tensor([[0.0, 2.0, 1.0]])
    assert Sampler(0.0).draw(logits, 0, 0).tolist() == [1]
    assert Sampler(1.0, top_k=1).draw(logits, 0, 0).tolist() == [1]


@pytest.mark.parametrize("seeded", [False, True])
def test_draws_have_the_probabilities_of_the_logits(seeded):
    probabilities = torch.tensor([0.1, 0.6, 0.3])
    rows = 20_000
    logits = (probabilities.log() * 2).expand(rows, 3)  # temperature 2 brings them back
    if seeded:
        sampler = SeededSampler([7], rows, 1, temperature=2.0)
    else:
        sampler = Sampler(2.0, generator=torch.Generator().manual_seed(1))
    shares = sampler.draw(logits, 0, 0).bincount(minlength=3) / rows
    torch.testing.assert_close(shares, probabilities, atol=0.015, rtol=0)


def test_seeded_draws_belong_to_series_path_and_bar():
    logits = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    many = SeededSampler([3, 4], 3, 5, temperature=1.5)
    few = SeededSampler([4], 2, 5, temperature=1.5)
    for bar in range(5):
        for part in range(2):
            assert torch.equal(many.draw(logits, bar, part)[3:5], few.draw(logits[3:5], bar, part))


def test_seeded_draws_never_take_an_impossible_token():
    logits = torch.full((4, 8), float("-inf"))
    logits[:, 2] = 0.0
    sampler = SeededSampler([0], 4, 1)
    sampler._uniform.fill_(1.0)  # beyond what a generator gives: the end of the table
    assert sampler.draw(logits, 0, 0).tolist() == [2] * 4
    sampler._uniform.fill_(0.0)
    assert sampler.draw(logits, 0, 0).tolist() == [2] * 4


def test_logits_are_not_changed():
    logits = torch.randn(3, 16)
    before = logits.clone()
    Sampler(0.7, top_k=4).draw(logits, 0, 0)
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, r"T=-1.0 must be 0 \(greedy\) or more"),
        ({"temperature": float("nan")}, r"T=nan must be 0 \(greedy\) or more"),
        ({"top_k": -2}, "top_k=-2 must be a whole number of tokens"),
        ({"top_p": 0.0}, r"top_p=0.0 is outside \(0, 1\]"),
        ({"top_p": 1.5}, r"top_p=1.5 is outside \(0, 1\]"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        Sampler(**settings)


def test_none_means_off():
    sampler = Sampler(1.0, top_k=None, top_p=None)
    assert (sampler.top_k, sampler.top_p) == (0, 1.0)


@pytest.mark.parametrize("settings", [{"top_p": 0.9}, {"top_k": 7}, {"temperature": 0.6}], ids=str)
def test_draws_are_those_of_multinomial(settings):
    """The same tokens from the same random numbers, which are used up alike; another torch may draw otherwise."""
    logits = 2 * torch.randn(40, 300, generator=torch.Generator().manual_seed(5))
    generator, reference = (torch.Generator().manual_seed(9) for _ in range(2))
    sampler = Sampler(generator=generator, **settings)
    for _ in range(3):
        kept = keep_likely(logits / sampler.temperature, sampler.top_k, sampler.top_p)
        expected = torch.multinomial(kept.softmax(dim=-1), 1, generator=reference)[:, 0]
        assert torch.equal(sampler.draw(logits, 0, 0), expected)
    assert torch.equal(generator.get_state(), reference.get_state())


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 0.999])
def test_top_p_keeps_what_the_published_filter_keeps(top_p):
    logits = 2 * torch.randn(50, 200, generator=torch.Generator().manual_seed(6))
    ordered, order = logits.sort(descending=True)
    beyond = ordered.softmax(dim=-1).cumsum(dim=-1) > top_p
    beyond = torch.cat((torch.zeros_like(beyond[:, :1]), beyond[:, :-1]), dim=1)
    removed = torch.zeros_like(beyond).scatter(1, order, beyond)
    assert torch.equal(torch.isinf(keep_likely(logits, 0, top_p)), removed)
