"""Weights whose names, shapes or numbers do not fit their configuration are refused, naming the tensors."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BartConfig, BartForConditionalGeneration, BartModel, T5Config, T5ForConditionalGeneration

from mt5_ft.models.loading import load_model, load_tokenizer
from mt5_ft.models.weight_names import common_prefix

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(start):
    return start


def change(folder, change_tensors, file=WEIGHTS):
    """Rewrites the weights of a folder after a function has changed its tensors."""
    tensors = load_file(folder / file)
    save_file(change_tensors(tensors) or tensors, folder / file, metadata={"format": "pt"})


def set_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


def prefixed(prefix):
    return lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()}


def without(*names):
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if name not in names}


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod."])
def test_a_prefix_of_wrappers_is_removed(folder, model, prefix, capsys):
    change(folder, prefixed(prefix))
    loaded = load_model(str(folder)).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded[name], value)
    assert f"begin with {prefix!r}; the prefix is removed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (without("lm_head.weight"), r"missing tensors: 1 \(lm_head.weight\); save the complete model again"),
        (
            without("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"),
            r"missing tensors: 3 \(shared.weight, encoder.embed_tokens.weight, decoder.embed_tokens.weight\)",
        ),
        (
            without("encoder.block.0.layer.0.SelfAttention.q.weight"),
            r"missing tensors: 1 \(encoder.block.0.layer.0.SelfAttention.q.weight\)",
        ),
        (lambda tensors: tensors | {"extra": torch.ones(1)}, r"unexpected tensors: 1 \(extra\)"),
        (
            prefixed("student."),
            r"missing tensors: \d+ \(shared.weight, .*, .* and \d+ more\); unexpected tensors: \d+ \(student",
        ),
        (
            lambda tensors: prefixed("module.")(without("lm_head.weight")(tensors)),
            r"without the common prefix 'module.', missing tensors: 1 \(lm_head.weight\)",
        ),
        (
            lambda tensors: tensors | {"lm_head.weight": torch.ones(3, 16)},
            r"tensors of another shape: 1 \(lm_head.weight \[3, 16\] instead of \[\d+, 16\]\)",
        ),
    ],
)
@pytest.mark.fault(15)
def test_tensors_that_do_not_fit_are_named(folder, changed, message):
    change(folder, changed)
    with pytest.raises(ValueError, match=message) as caught:
        load_model(str(folder))
    assert "do not fit its config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_training_refuses_before_it_writes(folder, train, refused, tmp_path):
    change(folder, without("lm_head.weight"))
    refused(["train", *train.base, "--output_dir", tmp_path / "run"], "missing tensors: 1 (lm_head.weight)")
    assert not (tmp_path / "run").exists()


def test_an_output_layer_that_the_configuration_ties_may_be_absent(folder, model):
    change(folder, without("lm_head.weight"))
    set_config(folder, tie_word_embeddings=True)
    loaded = load_model(str(folder))
    assert torch.equal(loaded.lm_head.weight, model.shared.weight)
    assert torch.equal(loaded.shared.weight, model.shared.weight)


def test_embeddings_may_be_named_as_those_of_the_encoder(folder, model):
    change(
        folder,
        lambda tensors: without("shared.weight")(tensors) | {"encoder.embed_tokens.weight": tensors["shared.weight"]},
    )
    assert torch.equal(load_model(str(folder)).shared.weight, model.shared.weight)


def test_several_files_are_compared_as_one(model, tokenizer, tmp_path):
    folder = tmp_path / "parts"
    model.save_pretrained(folder, max_shard_size="30KB")
    tokenizer.save_pretrained(folder)
    files = sorted(folder.glob("*.safetensors"))
    assert len(files) > 1
    assert torch.equal(load_model(str(folder)).lm_head.weight, model.lm_head.weight)
    name = next(name for name in load_file(files[-1]) if name.startswith("encoder"))
    change(folder, without(name), files[-1].name)
    with pytest.raises(ValueError, match=rf"missing tensors: 1 \({name}\)"):
        load_model(str(folder))


def test_files_that_are_not_loaded_are_not_compared(folder):
    save_file({"other": torch.ones(1)}, folder / "model-00001-of-00002.safetensors")
    load_model(str(folder))


def test_a_checkpoint_that_does_not_fit_is_not_resumed(make_trainer):
    trainer, keys = make_trainer(), torch.nn.modules.module._IncompatibleKeys
    trainer._issue_warnings_after_load(keys(["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"], []))
    with pytest.raises(ValueError, match=r"does not fit the model: missing tensors: 1 \(lm_head.weight\); remove it"):
        trainer._issue_warnings_after_load(keys(["lm_head.weight"], []))


def test_other_architectures_fit(tmp_path):
    """T5 ties by its configuration; a BART without its head has shorter names."""
    small = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 16}
    T5ForConditionalGeneration(T5Config(**small)).save_pretrained(tmp_path / "t5")
    load_model(str(tmp_path / "t5"))
    sizes = {f"{side}_{name}": 1 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    config = BartConfig(vocab_size=16, d_model=8, encoder_ffn_dim=8, decoder_ffn_dim=8, **sizes)
    for kind in (BartModel, BartForConditionalGeneration):
        kind(config).save_pretrained(tmp_path / kind.__name__)
        load_model(str(tmp_path / kind.__name__))


def test_a_million_layers_are_not_built(folder):
    set_config(folder, num_layers=10**6)
    with pytest.raises(ValueError, match=r"has num_layers=1,000,000, but the weights have \d+ tensors"):
        load_model(str(folder))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.fault(15)
def test_numbers_that_are_not_finite_are_refused(folder, number):
    def spoil(tensors):
        tensors["encoder.final_layer_norm.weight"][3] = number

    change(folder, spoil)
    with pytest.raises(
        ValueError, match=r"has NaN or infinite numbers in 1 of \d+ tensors \(encoder.final_layer_norm.weight"
    ):
        load_model(str(folder))


@pytest.fixture
def adapters(folder, tmp_path):
    from peft import LoraConfig, get_peft_model

    path = tmp_path / "adapters"
    settings = LoraConfig(task_type="SEQ_2_SEQ_LM", r=4, target_modules=["q", "v"])
    get_peft_model(load_model(str(folder)), settings).save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            prefixed("module."),
            r"missing tensors: 12 \(base_model.*unexpected tensors: 12 \(module.base_model",
        ),
        (lambda tensors: dict(list(tensors.items())[1:]), "missing tensors: 1"),
        (lambda tensors: tensors | {"extra.lora_A.weight": torch.ones(1)}, r"unexpected tensors: 1 \(extra"),
        (
            lambda tensors: tensors | {next(iter(tensors)): next(iter(tensors.values())) * float("nan")},
            r"has NaN or infinite numbers in 1 of \d+ tensors \(.*lora_A",
        ),
    ],
)
@pytest.mark.fault(15)
def test_adapters_that_do_not_fit_are_named(adapters, changed, message):
    load_model(str(adapters))
    change(adapters, changed, "adapter_model.safetensors")
    with pytest.raises(ValueError, match=message):
        load_model(str(adapters))


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["module.a", "module.b"], "module."),
        (["module.a", "b"], ""),
        (["module.model.a"], "module.model."),
        (["a"], ""),
    ],
)
def test_prefixes_are_common_to_all_names(names, prefix):
    assert common_prefix(names) == prefix


WRONG = [None, True, [], {}, "x", -1, 0, 10**30, 1e30, float("nan"), 2**63]


@pytest.mark.parametrize("field", ["d_model", "num_heads", "num_layers", "vocab_size", "use_cache", "model_type"])
def test_a_configuration_of_any_type_is_one_line(folder, field):
    before = (folder / "config.json").read_text("utf-8")
    for value in WRONG:
        set_config(folder, **{field: value})
        message = ""
        try:
            load_model(str(folder))
        except ValueError as error:
            message = str(error)
        assert "\n" not in message
        assert message or (field, value) in [("num_layers", True), ("use_cache", True), ("use_cache", None)], value
        (folder / "config.json").write_text(before, "utf-8")


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"model": 3}', '{"model": {"type": "Unigram", "vocab": 3}}', "\0"]
)
def test_a_damaged_tokenizer_is_one_line(folder, content):
    (folder / "tokenizer.json").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=r"cannot be loaded \(.*\); pass the folder of an mT5 model") as caught:
        load_tokenizer(str(folder))
    assert "\n" not in str(caught.value)
