"""What a card says of the published code: it loads what this library saved, to the same weights."""

import pytest
import torch

from kronos_ft.hub.card import PUBLISHED_USAGE
from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("stage", ["tokenizer", "predictor"])
def test_the_lines_of_the_card_run(published, stage, tmp_path):
    torch.manual_seed(3)
    tokenizer = KronosTokenizer(KronosTokenizerConfig.from_size("tiny"))
    model = tokenizer if stage == "tokenizer" else Kronos(KronosConfig.from_size("tiny"))
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    model.save_pretrained(tmp_path / "model")
    code = PUBLISHED_USAGE[stage].replace("{repo}", str(tmp_path / "model"))
    names = {}
    exec(code.replace("TOKENIZER", str(tmp_path / "tokenizer")), names)
    theirs = names["tokenizer"] if stage == "tokenizer" else names["predictor"].model
    found = theirs.state_dict()
    assert all(torch.equal(value, found[name].cpu()) for name, value in model.state_dict().items())
