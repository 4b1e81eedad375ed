"""The hashes that identify a forecast's networks: any weight of any of them changes them."""

from types import SimpleNamespace

import pytest
import torch

from kronos_ft import Kronos, KronosConfig, KronosTokenizer, KronosTokenizerConfig
from kronos_ft.models.identity import predictor_hashes


def networks():
    torch.manual_seed(0)
    model = Kronos(KronosConfig.from_size("tiny"))
    return model, KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))


def test_a_predictor_without_tokenizer_has_one_hash():
    assert len(predictor_hashes(SimpleNamespace(model=networks()[0], tokenizer=None))) == 1


@pytest.mark.parametrize("place", range(4))
def test_any_network_changes_the_hashes(place):
    model, tokenizer = networks()
    sampler = SimpleNamespace(model=networks()[0], tokenizer=networks()[1])
    predictor = SimpleNamespace(model=model, tokenizer=tokenizer, sampler=sampler)
    before = predictor_hashes(predictor)
    with torch.no_grad():
        next((model, tokenizer, sampler.model, sampler.tokenizer)[place].parameters()).view(-1)[0] += 1
    after = predictor_hashes(predictor)
    assert [one == other for one, other in zip(before, after, strict=True)] == [at != place for at in range(4)]
