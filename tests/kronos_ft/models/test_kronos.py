"""The predictor: causality, conditioning of the fine token, calendar, initialisation, configuration."""

import pytest
import torch

from kronos_ft.models.configuration_kronos import KronosConfig
from kronos_ft.models.layers import SinusoidalEmbedding
from kronos_ft.models.modeling_kronos import Kronos


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Kronos(KronosConfig.from_size("tiny")).eval()


def bars(batch=2, length=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    s1, s2 = torch.randint(32, (2, batch, length), generator=generator)
    stamp = torch.randint(1, 7, (batch, length, 5), generator=generator)
    return s1, s2, stamp


@torch.no_grad()
@pytest.mark.fault(17)
def test_no_logit_depends_on_a_later_bar(model):
    s1, s2, stamp = bars()
    before = model(s1, s2, stamp, s1_targets=s2)
    for values in (s1, s2, stamp):
        changed = values.clone()
        changed[:, 8:] = (changed[:, 8:] + 3) % 7
        inputs = [changed if tensor is values else tensor for tensor in (s1, s2, stamp)]
        after = model(*inputs, s1_targets=s2)
        assert torch.equal(after.s1_logits[:, :8], before.s1_logits[:, :8])
        assert torch.equal(after.s2_logits[:, :8], before.s2_logits[:, :8])
        assert not torch.equal(after.s1_logits[:, 8:], before.s1_logits[:, 8:])


@torch.no_grad()
@pytest.mark.fault(17)
def test_without_the_causal_mask_the_fine_token_sees_the_future(model):
    s1, s2, stamp = bars()
    changed = s1.clone()
    changed[:, 8:] = (changed[:, 8:] + 3) % 7
    before, after = (model(one, s2, stamp, s1_targets=s2, causal=False).s2_logits for one in (s1, changed))
    assert not torch.allclose(after[:, :8], before[:, :8])


@torch.no_grad()
def test_the_fine_token_is_conditioned_on_the_coarse_one_of_its_own_bar(model):
    s1, s2, stamp = bars()
    targets = s1.clone()
    targets[:, 5] = (targets[:, 5] + 1) % 32
    before, after = (model(s1, s2, stamp, s1_targets=one) for one in (s1, targets))
    assert torch.equal(after.s1_logits, before.s1_logits)
    changed = (after.s2_logits != before.s2_logits).any(dim=(0, 2))
    assert changed.tolist() == [position == 5 for position in range(12)]


@torch.no_grad()
def test_rotated_decoding_equals_the_last_position_of_training(model):
    s1, s2, stamp = bars()
    target = torch.roll(s2, 1, dims=1)
    training = model(s1, s2, stamp, s1_targets=target).s2_logits[:, -1]
    _, context = model.decode_s1(s1, s2, stamp)
    unrotated = model.decode_s2(context, target[:, -1:])[:, -1]
    model.config.rotate_sibling = True
    rotated = model.decode_s2(context, target[:, -1:])[:, -1]
    model.config.rotate_sibling = False
    torch.testing.assert_close(rotated, training, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(unrotated, training, atol=1e-4)


def test_decoding_wants_the_next_bar_alone(model):
    with pytest.raises(ValueError, match=r"s1_ids of shape \(2, 3\) must be \(batch_size, 1\)"):
        model.decode_s2(torch.zeros(2, 5, 32), torch.zeros(2, 3, dtype=torch.long))


@torch.no_grad()
def test_each_calendar_feature_counts(model):
    s1, s2, stamp = bars()
    before = model(s1, s2, stamp, s1_targets=s1).s1_logits
    for feature in range(5):
        changed = stamp.clone()
        changed[..., feature] = (changed[..., feature] % 6) + 1
        assert not torch.allclose(model(s1, s2, changed, s1_targets=s1).s1_logits, before)


def test_fixed_calendar_embeddings_stay_sinusoids():
    model = Kronos(KronosConfig(**{**vars(KronosConfig.from_size("tiny")), "learn_te": False}))
    hour = model.time_emb.hour_embed
    assert isinstance(hour, SinusoidalEmbedding)
    position = torch.arange(24).float()
    torch.testing.assert_close(hour.emb.weight[:, 0], position.sin())
    torch.testing.assert_close(hour.emb.weight[:, 1], position.cos())
    assert not hour.emb.weight.requires_grad


def test_initialisation_is_the_published_one():
    torch.manual_seed(0)
    model = Kronos(KronosConfig.from_size("mini"))
    assert model.embedding.emb_s1.weight.std().item() == pytest.approx(256**-0.5, rel=0.02)
    weight = model.head.proj_s1.weight
    assert weight.std().item() == pytest.approx((2 / (256 + 1024)) ** 0.5, rel=0.02)
    assert not model.head.proj_s1.bias.any()
    assert (model.norm.weight == 1).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 36, "n_heads": 2}, "d_model=36 is not a multiple of 8"),
        ({"d_model": 40, "n_heads": 8}, "d_model=40 is not a multiple of 2 x n_heads=8"),
        ({"n_layers": 0}, "n_layers=0 must be at least 1"),
        ({"s1_bits": 24}, "s1_bits=24 exceeds 20 bits"),
    ],
)
def test_contradictory_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        KronosConfig(**change)


def test_unknown_size():
    with pytest.raises(ValueError, match="size='huge' is not a predictor size"):
        KronosConfig.from_size("huge")
