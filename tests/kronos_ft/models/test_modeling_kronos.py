"""The tokenizer's own properties: causality, precision, odd bit splits, saving."""

import pytest
import torch

from kronos_ft.models.configuration_kronos import KronosTokenizerConfig
from kronos_ft.models.layers import apply_rotary, rotary_table
from kronos_ft.models.modeling_kronos import KronosTokenizer


@pytest.fixture
def candles():
    return torch.randn(2, 30, 6, generator=torch.Generator().manual_seed(2))


@pytest.mark.fault(17)
def test_reconstruction_is_causal(tiny_model, candles):
    """Nothing at or after a bar reaches what comes before it."""
    tiny_model.eval()
    changed = candles.clone()
    changed[:, 17:] += torch.randn(2, 13, 6)
    before, after = tiny_model(candles), tiny_model(changed)
    assert torch.equal(tiny_model.encode(candles)[:, :17], tiny_model.encode(changed)[:, :17])
    torch.testing.assert_close(before.reconstruction[:, :17], after.reconstruction[:, :17])
    assert not torch.allclose(before.reconstruction[:, 17:], after.reconstruction[:, 17:])


@pytest.mark.parametrize(("s1_bits", "s2_bits"), [(6, 4), (3, 9), (5, 5)])
def test_halves_decode_as_the_whole_for_any_split(s1_bits, s2_bits, candles):
    config = KronosTokenizerConfig(d_model=32, n_heads=2, ff_dim=32, s1_bits=s1_bits, s2_bits=s2_bits, group_size=2)
    model = KronosTokenizer(config).eval()
    whole = model.decode(model.encode(candles))
    torch.testing.assert_close(model.decode(model.encode(candles, half=True), half=True), whole, rtol=0, atol=0)
    torch.testing.assert_close(whole, model(candles).reconstruction)


def test_training_works_after_inference_mode(tiny_model, candles):
    """Upstream keeps a rotary table made in inference mode and then fails in the backward pass."""
    with torch.inference_mode():
        tiny_model.eval()(candles)
    tiny_model.train()(candles).reconstruction.sum().backward()
    assert tiny_model.embed.weight.grad.abs().sum() > 0


def test_half_precision_weights_do_not_blur_positions(tiny_model, candles):
    """The rotation comes from the head size; a `.bfloat16()` of the buffer does not reach it."""
    expected = rotary_table(500, 16, torch.device("cpu"))
    tiny_model.bfloat16()
    assert tiny_model.encoder[0].self_attn.rotary.inv_freq.dtype == torch.bfloat16
    cos, sin = tiny_model._rotary(torch.zeros(1, 500, 32, dtype=torch.bfloat16))
    assert torch.equal(cos, expected[0])
    assert torch.equal(sin, expected[1])
    assert tiny_model(candles.bfloat16()).reconstruction.dtype == torch.bfloat16


def test_autocast_keeps_the_rotary_table_in_fp32(tiny_model):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cos, _ = tiny_model._rotary(torch.zeros(1, 400, 32))
    assert torch.equal(cos, rotary_table(400, 16, torch.device("cpu"))[0])


def test_rotary_scores_depend_on_distance_alone():
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    cos, sin = (table.double() for table in rotary_table(40, 8, torch.device("cpu")))
    rotated = [
        (apply_rotary(query, cos[q : q + 1], sin[q : q + 1]) * apply_rotary(key, cos[k : k + 1], sin[k : k + 1])).sum()
        for q, k in ((5, 2), (25, 22), (39, 36))
    ]
    torch.testing.assert_close(rotated[0], rotated[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(rotated[0], rotated[2], rtol=1e-5, atol=1e-6)


def test_save_and_load_give_the_same_output(tiny_model, candles, tmp_path):
    tiny_model.eval().save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    loaded = KronosTokenizer.from_pretrained(tmp_path)
    assert torch.equal(loaded(candles).reconstruction, tiny_model(candles).reconstruction)
    assert not loaded.training


def test_a_new_model_has_the_default_initialisation_of_its_layers():
    torch.manual_seed(0)
    model = KronosTokenizer(KronosTokenizerConfig.from_size("base"))
    bound = model.config.d_model**-0.5
    weight = model.encoder[0].self_attn.q_proj.weight
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert model.encoder[0].self_attn.q_proj.bias.abs().sum() > 0
