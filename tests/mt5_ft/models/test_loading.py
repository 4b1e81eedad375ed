"""Byte fallback, untied output layer, and what is refused."""

import copy
import json

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BertConfig, BertModel

from mt5_ft.models.loading import ModelUnreachable, load_model, load_tokenizer
from tests.hub_fixtures import talk_to
from tests.loopback_hub import COMMIT, LoopbackHub


@pytest.fixture
def folder(model, tokenizer, tmp_path):
    with torch.no_grad():
        model.lm_head.weight.add_(0.01)
    path = tmp_path / "model"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.fault(26)
def test_rare_characters_survive_the_round_trip(tokenizer, folder):
    for loaded in (tokenizer, load_tokenizer(str(folder)), AutoTokenizer.from_pretrained(folder)):
        for text in ("你好😀龘", "龘 hello 😀 world", "a b"):
            ids = loaded(text).input_ids
            assert loaded.unk_token_id not in ids
            assert loaded.decode(ids, skip_special_tokens=True) == text


def test_the_round_trip_folds_full_width_marks_and_breaks(tokenizer):
    """As docs/mt5.md says."""
    ids = tokenizer("病人，好！\n\n睡。（三）").input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "病人,好! 睡。(三)"


def test_output_layer_is_its_own_after_loading(model, folder):
    loaded = load_model(str(folder))
    assert loaded.lm_head.weight is not loaded.shared.weight
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    assert torch.equal(loaded.shared.weight, model.shared.weight)
    stock = AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert torch.equal(stock.lm_head.weight, model.lm_head.weight)


@pytest.mark.fault(15)
def test_models_that_are_refused(folder, tokenizer, tmp_path):
    with pytest.raises(ValueError, match="does not exist; correct the path"):
        load_model(str(tmp_path / "none"))
    bert = tmp_path / "bert"
    BertModel(
        BertConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1, intermediate_size=8)
    ).save_pretrained(bert)
    with pytest.raises(ValueError, match="is a bert model, not encoder-decoder; pass an mT5 model"):
        load_model(str(bert))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match=r"contains only pickled weights \(pytorch_model.bin\), which are never loaded"
    ):
        load_model(str(folder))


@pytest.mark.fault(25)
def test_a_vocabulary_larger_than_the_embedding(folder, tokenizer):
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert len(tokenizer) <= config["vocab_size"]
    larger = copy.deepcopy(tokenizer)
    larger.add_tokens([f"new{i}" for i in range(200)])
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ pieces, but .* has \d+ embeddings; pass"):
        load_model(str(folder), larger)


def test_hub_out_of_reach(monkeypatch):
    monkeypatch.setattr("ft_core.hub.resolve.hub_answers", lambda: False)
    with pytest.raises(ModelUnreachable, match="cannot reach the Hub for some/mt5"):
        load_model("some/mt5")


def test_weights_in_several_parts_come_from_the_hub_and_then_from_the_cache(
    model, tokenizer, folder, tmp_path, monkeypatch
):
    parts = tmp_path / "parts"
    model.save_pretrained(parts, max_shard_size="200KB")
    tokenizer.save_pretrained(parts)
    files = {path.name: path.read_bytes() for path in parts.iterdir()}
    assert len([name for name in files if name.endswith(".safetensors")]) > 1
    with LoopbackHub({"me/parts": files}) as url:
        talk_to(url, monkeypatch, tmp_path)
        assert load_tokenizer("me/parts").get_vocab() == tokenizer.get_vocab()
        loaded = load_model("me/parts", tokenizer)
    assert (loaded.name_or_path, loaded.hub_origin.commit) == ("me/parts", COMMIT)
    talk_to("http://127.0.0.1:9", monkeypatch, tmp_path)  # nobody answers there
    assert load_tokenizer("me/parts").get_vocab() == tokenizer.get_vocab()
    for other in (loaded, load_model("me/parts", tokenizer)):
        for name, value in model.state_dict().items():
            assert torch.equal(other.state_dict()[name], value)


@pytest.fixture
def adapters(folder, tokenizer, tmp_path):
    """A folder of adapters on the base `folder`."""
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        load_model(str(folder)), LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, target_modules=["q", "v"])
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    path = tmp_path / "adapters"
    model.save_pretrained(path)
    return path


def base_of(adapters):
    return json.loads((adapters / "adapter_config.json").read_text("utf-8"))["base_model_name_or_path"]


def test_adapters_know_their_base_from_any_folder(adapters, folder, tmp_path, monkeypatch):
    assert base_of(adapters) == str(folder.resolve())
    expected = load_model(str(adapters)).state_dict()
    monkeypatch.chdir(tmp_path)
    for name, value in load_model("adapters").state_dict().items():
        assert torch.equal(value, expected[name])
    assert not torch.equal(
        expected["encoder.block.0.layer.0.SelfAttention.q.weight"],
        load_model(str(folder)).state_dict()["encoder.block.0.layer.0.SelfAttention.q.weight"],
    )


def test_adapters_on_a_base_in_bf16_are_fp32(adapters, folder, model):
    model.to(torch.bfloat16).save_pretrained(folder)
    assert {parameter.dtype for parameter in load_model(str(adapters)).parameters()} == {torch.float32}


def test_adapters_whose_base_cannot_be_used(adapters, folder, monkeypatch):
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match=r"the base model .* of the adapters in .* only pickled weights \(pytorch_model.bin"
    ):
        load_model(str(adapters))
    weights.write_bytes(content[:-9])
    with pytest.raises(ValueError, match=r"of the adapters in .* model.safetensors is truncated or damaged"):
        load_model(str(adapters))
    config = adapters / "adapter_config.json"
    monkeypatch.setattr("ft_core.hub.resolve.hub_answers", lambda: False)
    config.write_text(config.read_text("utf-8").replace(str(folder.resolve()), "runs/gone"), "utf-8")
    with pytest.raises(
        ValueError, match=r"the base model runs/gone of the adapters in .* cannot be loaded .*; restore it"
    ):
        load_model(str(adapters))
    config.write_text("{}", "utf-8")
    with pytest.raises(ValueError, match="names no base model"):
        load_model(str(adapters))
