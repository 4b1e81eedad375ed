"""The predictor against the published implementation: keys, logits, loss, gradients, decoding, folders."""

import json

import pytest
import torch
from torch.nn import functional as F

from kronos_ft.models.configuration_kronos import KronosConfig
from kronos_ft.models.modeling_kronos import Kronos

pytestmark = pytest.mark.parity
CLOSE = {"rtol": 1e-5, "atol": 2e-6}
COUNTS = {"mini": 4_108_032, "small": 24_741_376, "base": 102_310_592, "large": 499_246_976}


def inputs_of(tokens):
    s1, s2, stamp = tokens
    return s1[:, :-1], s2[:, :-1], stamp[:, :-1]


@pytest.mark.parametrize("size", COUNTS)
def test_number_of_parameters(size):
    with torch.device("meta"):
        model = Kronos(KronosConfig.from_size(size))
    assert sum(parameter.numel() for parameter in model.parameters()) == COUNTS[size]


def test_state_dict_keys_and_shapes(predictors):
    theirs, ours = predictors
    expected = {name: (value.shape, value.dtype) for name, value in theirs.state_dict().items()}
    assert {name: (value.shape, value.dtype) for name, value in ours.state_dict().items()} == expected


def test_teacher_forced_logits_loss_and_gradients(predictors, tokens):
    theirs, ours = predictors
    s1, s2, _ = tokens
    published = theirs(*inputs_of(tokens), use_teacher_forcing=True, s1_targets=s1[:, 1:])
    output = ours(*inputs_of(tokens), s1_targets=s1[:, 1:])
    torch.testing.assert_close(output.s1_logits, published[0], **CLOSE)
    torch.testing.assert_close(output.s2_logits, published[1], **CLOSE)
    theirs.head.compute_loss(*published, s1[:, 1:], s2[:, 1:])[0].backward()
    ce_s1 = F.cross_entropy(output.s1_logits.transpose(1, 2), s1[:, 1:])
    ce_s2 = F.cross_entropy(output.s2_logits.transpose(1, 2), s2[:, 1:])
    ((ce_s1 + ce_s2) / 2).backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-5, atol=1e-6, msg=name)


def test_sampled_conditioning_draws_the_published_siblings(predictors, tokens):
    theirs, ours = predictors
    torch.manual_seed(3)
    published = theirs(*inputs_of(tokens))
    torch.manual_seed(3)
    output = ours(*inputs_of(tokens))
    torch.testing.assert_close(output.s1_logits, published[0], **CLOSE)
    torch.testing.assert_close(output.s2_logits, published[1], **CLOSE)


def test_published_evaluation_is_matched_only_when_asked_for(predictors, tokens):
    theirs, ours = (model.eval() for model in predictors)
    s1, _, _ = tokens
    with torch.no_grad():
        published = theirs(*inputs_of(tokens), use_teacher_forcing=True, s1_targets=s1[:, 1:])[1]
        leaking = ours(*inputs_of(tokens), s1_targets=s1[:, 1:], causal=False).s2_logits
        causal = ours(*inputs_of(tokens), s1_targets=s1[:, 1:]).s2_logits
    torch.testing.assert_close(leaking, published, **CLOSE)
    assert not torch.allclose(causal[:, :-1], published[:, :-1], atol=1e-3)


def test_decoding_with_the_single_unrotated_query(predictors, tokens):
    theirs, ours = (model.eval() for model in predictors)
    s1, _, _ = tokens
    with torch.no_grad():
        published_logits, published_context = theirs.decode_s1(*inputs_of(tokens))
        logits, context = ours.decode_s1(*inputs_of(tokens))
        torch.testing.assert_close(logits, published_logits, **CLOSE)
        torch.testing.assert_close(context, published_context, **CLOSE)
        published_fine = theirs.decode_s2(published_context, s1[:, -1:])
        torch.testing.assert_close(ours.decode_s2(context, s1[:, -1:]), published_fine, **CLOSE)


def test_folders_load_both_ways(predictors, tokens, tmp_path, published):
    theirs, ours = (model.eval() for model in predictors)
    theirs.save_pretrained(
        tmp_path / "published", config={key: getattr(ours.config, key) for key in ours.config.published_keys()}
    )
    ours.config.rotate_sibling = True
    ours.save_pretrained(tmp_path / "ours")
    ours.config.rotate_sibling = False
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["rotate_sibling"] is True
    assert Kronos.from_pretrained(tmp_path / "ours").config.rotate_sibling is True
    loaded = Kronos.from_pretrained(tmp_path / "published")
    assert loaded.config.rotate_sibling is False
    again = published.Kronos.from_pretrained(str(tmp_path / "ours")).eval()
    with torch.no_grad():
        expected = ours.decode_s1(*inputs_of(tokens))[0]
        torch.testing.assert_close(loaded.decode_s1(*inputs_of(tokens))[0], expected, **CLOSE)
        torch.testing.assert_close(again.decode_s1(*inputs_of(tokens))[0], expected, **CLOSE)
