"""Cached decoding against full recomputation: the same tokens, greedy and drawn, inside the window and beyond."""

import copy

import pytest
import torch
from transformers.utils import logging

from kronos_ft.forecasting import decoding
from kronos_ft.forecasting.decoding import Bars, PathDecoder, Window, decode_paths, generate_tokens
from kronos_ft.forecasting.sampling import Sampler, SeededSampler
from tests.uncached_decoding import random_bars, uncached_tokens


@pytest.fixture(params=[False, True], ids=["published rotation", "rotation of training"])
def model(request, networks):
    model = copy.deepcopy(networks[0])
    model.config.rotate_sibling = request.param
    return model


@torch.no_grad()
def cached_tokens(model, bars, sampler, window, num_paths=1, lengths=None):
    s1, s2, stamp, future = bars
    lengths = torch.full((len(s1),), s1.shape[1]) if lengths is None else torch.tensor(lengths)
    return generate_tokens(model, Bars(s1, s2, stamp), lengths, future, num_paths, sampler, window)


def samplers(kind, batch, num_paths, horizon):
    """Two samplers with the same draws."""
    if kind == "greedy":
        return Sampler(0.0), Sampler(0.0)
    if kind == "generator":
        return tuple(Sampler(0.9, top_p=0.95, generator=torch.Generator().manual_seed(4)) for _ in range(2))
    return tuple(SeededSampler(range(batch), num_paths, horizon, temperature=1.2, top_k=9) for _ in range(2))


@pytest.mark.parametrize("kind", ["greedy", "generator", "seeded"])
@pytest.mark.parametrize(("length", "horizon", "max_context"), [(20, 9, 28), (20, 1, 20), (2, 5, 64)])
def test_inside_the_window_tokens_are_those_of_recomputation(model, kind, length, horizon, max_context):
    bars = random_bars(3, length, horizon)
    ours, reference = samplers(kind, 3, 4, horizon)
    found = cached_tokens(model, bars, ours, Window(max_context), num_paths=4)
    expected = uncached_tokens(model, *bars, reference, max_context, num_paths=4)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", ["greedy", "seeded"])
@pytest.mark.parametrize(("length", "horizon", "max_context"), [(20, 9, 24), (20, 9, 20), (6, 20, 10), (8, 30, 8)])
def test_exact_overflow_gives_the_tokens_of_the_sliding_window(model, kind, length, horizon, max_context):
    bars = random_bars(2, length, horizon, seed=1)
    ours, reference = samplers(kind, 2, 3, horizon)
    found = cached_tokens(model, bars, ours, Window(max_context), num_paths=3)
    expected = uncached_tokens(model, *bars, reference, max_context, num_paths=3)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


def test_reprefill_every_bar_is_exact_and_rolling_is_not(model):
    s1, s2, stamp, future = random_bars(4, 16, 30, seed=2)
    exact, often, rolled = (
        torch.stack(cached_tokens(model, (s1, s2, stamp, future), Sampler(0.0), Window(16, overflow, 1)))
        for overflow in ("exact", "reprefill", "roll")
    )
    assert torch.equal(exact, often)
    assert torch.equal(exact[..., :1], rolled[..., :1])
    assert not torch.equal(exact, rolled)


@torch.no_grad()
def test_rolling_looks_at_the_last_bars_only(model):
    """What a rolled cache mixes is what a mask over the last bars mixes, layer by layer."""
    s1, s2, stamp, future = random_bars(2, 12, 6, seed=3)
    decoder = PathDecoder(model, num_paths=1, capacity=6)
    decoder.start(Bars(s1, s2, stamp), torch.tensor([12, 12]))
    new = random_bars(2, 6, 0, seed=4)[:2]
    for bar in range(6):
        decoder.append(Bars(new[0][:, bar : bar + 1], new[1][:, bar : bar + 1], future[:, bar : bar + 1]))
        decoder.forget_before(bar + 1)
    s1, s2 = torch.cat((s1, new[0]), dim=1), torch.cat((s2, new[1]), dim=1)
    allowed = torch.ones(18, 18).tril().bool()
    for row in range(13, 18):  # the bars forgotten before this one was added
        allowed[row, : row - 12] = False

    def attend(query, key, value):
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)

    embedded = model.embed(s1, s2, torch.cat((stamp, future), dim=1))
    hidden = model.transform(embedded, model.rotary(18), [attend] * len(model.transformer))
    torch.testing.assert_close(decoder.hidden[:, 0], hidden[:, -1], rtol=1e-4, atol=1e-5)


def test_series_of_unequal_length_get_their_own_tokens(model):
    horizon, lengths = 7, [20, 5, 13]
    bars = [random_bars(1, length, horizon, seed=length) for length in lengths]
    padded = [
        torch.nn.utils.rnn.pad_sequence([one[part][0] for one in bars], batch_first=True) for part in range(3)
    ] + [torch.cat([one[3] for one in bars])]
    sampler = SeededSampler(range(3), 2, horizon)
    found = cached_tokens(model, padded, sampler, Window(64), num_paths=2, lengths=lengths)
    for position, one in enumerate(bars):
        alone = cached_tokens(model, one, SeededSampler([position], 2, horizon), Window(64), num_paths=2)
        for tokens, expected in zip(found, alone, strict=True):
            assert torch.equal(tokens[2 * position : 2 * position + 2], expected)


@torch.no_grad()
@pytest.mark.parametrize(("length", "horizon", "max_context"), [(20, 9, 64), (20, 9, 16), (20, 9, 9), (3, 9, 10)])
def test_decoded_paths_are_those_of_whole_windows(networks, length, horizon, max_context):
    _, tokenizer = networks
    s1, s2, _, _ = random_bars(2, length, horizon, seed=5)
    new = random_bars(6, horizon, 0, seed=6)[:2]
    found = decode_paths(tokenizer, (s1, s2), torch.tensor([length] * 2), new, 3, max_context)
    whole = [
        torch.cat((one.repeat_interleave(3, dim=0), other), dim=1) for one, other in zip((s1, s2), new, strict=True)
    ]
    expected = tokenizer.decode(tuple(one[:, -max_context:] for one in whole), half=True)[:, -horizon:]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.fault(17)
def test_a_horizon_beyond_the_window_is_decoded_in_pieces_without_later_bars(networks):
    _, tokenizer = networks
    s1, s2, _, _ = random_bars(1, 12, 0, seed=7)
    new = random_bars(1, 30, 0, seed=8)[:2]
    found = decode_paths(tokenizer, (s1, s2), torch.tensor([12]), new, 1, 10)
    assert found.shape == (1, 30, 6)
    window = (torch.cat((old[:, -5:], one[:, :5]), dim=1) for old, one in zip((s1, s2), new, strict=True))
    first = tokenizer.decode(tuple(window), half=True)
    torch.testing.assert_close(found[:, :5], first[:, 5:], rtol=1e-4, atol=1e-5)
    third = tokenizer.decode(tuple(one[:, 5:15] for one in new), half=True)
    torch.testing.assert_close(found[:, 10:15], third[:, 5:], rtol=1e-4, atol=1e-5)


def test_slow_exact_decoding_is_said_once_with_the_time_it_takes(networks, monkeypatch, caplog):
    monkeypatch.setattr(decoding, "SLOW_SECONDS", 0.0)
    logging.enable_propagation()
    with caplog.at_level("WARNING"):
        cached_tokens(networks[0], random_bars(1, 10, 8), Sampler(0.0), Window(10))
    logging.disable_propagation()
    said = [record.message for record in caplog.records if "exact recomputation takes about" in record.message]
    assert len(said) == 1
    assert "exceeds max_context=10 by 7" in said[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"overflow": "slide"}, "overflow='slide' is not known; use one of exact, roll, reprefill, trim"),
        ({"max_context": 1}, "max_context=1 is below 2"),
        ({"reprefill_every": 0}, "reprefill_every=0 is below 1"),
    ],
)
def test_bad_windows(settings, message):
    with pytest.raises(ValueError, match=message):
        Window(**settings)


def test_trim_keeps_what_stays_exact_or_refuses():
    window = Window(32, "trim")
    assert window.trimmed(100, 8) == 25
    assert window.fits(25, 8)
    with pytest.raises(
        ValueError, match="horizon=32 with overflow='trim' leaves fewer than 2 context bars of max_context=32"
    ):
        window.trimmed(100, 32)


DAMAGED = ["transformer.0.ffn.w2", "head.proj_s1", "head.proj_s2", "dep_layer.cross_attn.q_proj", "embedding.emb_s1"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", DAMAGED)
@pytest.mark.parametrize("kind", ["greedy", "generator", "seeded"])
def test_a_model_without_numbers_is_refused(model, kind, place, value):
    model.get_submodule(place).weight.data.fill_(value)
    sampler, _ = samplers(kind, 1, 2, 3)
    with pytest.raises(
        ValueError, match="the model computes NaN or infinity for this context: its weights are damaged"
    ):
        cached_tokens(model, random_bars(1, 8, 3), sampler, Window(64), num_paths=2)
