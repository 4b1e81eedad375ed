"""Low-rank adapters: where they are put, saved alone or merged, loaded either way, refused without their model."""

import copy
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from kronos_ft.models.adapters import TARGETS, add_adapters, save_adapters
from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer


@pytest.fixture
def base(tiny_predictor, tmp_path):
    path = tmp_path / "base"
    tiny_predictor.save_pretrained(path)
    return path


@pytest.fixture
def adapted(base):
    """A predictor whose adapters do something."""
    model = add_adapters(Kronos.from_pretrained(base), r=4, alpha=8, dropout=0.0)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return model.eval()


@pytest.fixture
def folder(adapted, tmp_path):
    path = tmp_path / "adapters"
    path.mkdir()
    adapted.get_base_model().config.rotate_sibling = True
    save_adapters(adapted, path)
    return path


def logits(model):
    generator = torch.Generator().manual_seed(0)
    s1, s2 = torch.randint(32, (2, 3, 9), generator=generator)
    stamp = torch.randint(1, 7, (3, 9, 5), generator=generator)
    with torch.no_grad():
        output = model(s1_ids=s1, s2_ids=s2, stamp=stamp, s1_targets=s1)
    return output.s1_logits, output.s2_logits


def test_adapters_are_on_attention_and_feed_forward_layers_alone(adapted):
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert all(".lora_" in name for name in trained)
    layers = {name.split(".lora_")[0].removeprefix("base_model.model.") for name in trained}
    expected = {
        *(f"transformer.{i}.self_attn.{name}" for i in range(2) for name in TARGETS if name.endswith("proj")),
        *(f"transformer.{i}.ffn.{name}" for i in range(2) for name in ("w1", "w2", "w3")),
        *(f"dep_layer.cross_attn.{name}" for name in TARGETS if name.endswith("proj")),
    }
    assert layers == expected


def test_saved_alone_they_load_merged_with_their_model(adapted, folder, base):
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "base_model.json", "config.json",
    ]  # fmt: skip
    model = Kronos.from_pretrained(folder)
    assert type(model) is Kronos
    assert not model.training
    assert not any(".lora_" in name for name in model.state_dict())
    for found, expected in zip(logits(model), logits(adapted), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for found, before in zip(logits(model), logits(Kronos.from_pretrained(base)), strict=True):
        assert not torch.allclose(found, before, atol=1e-3)
    assert model.config.rotate_sibling  # of the adapters' folder, not of the base
    assert Kronos.read_config(folder).rotate_sibling


def test_merged_they_are_a_model_as_any_other(adapted, folder, tmp_path):
    merged = tmp_path / "merged"
    copy.deepcopy(adapted).merge_and_unload().save_pretrained(merged)
    assert {"config.json", "model.safetensors"} == {path.name for path in merged.iterdir()}
    for found, expected in zip(
        logits(Kronos.from_pretrained(merged)), logits(Kronos.from_pretrained(folder)), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def refuse(folder, message, cls=Kronos):
    with pytest.raises(ValueError, match=message) as error:
        cls.from_pretrained(folder)
    assert "\n" not in str(error.value)


def test_without_their_model_they_are_refused_with_a_remedy(folder, base):
    shutil.rmtree(base)
    refuse(
        folder,
        r"the base model .*base of the adapters in .* cannot be loaded .*does not exist.*or train with --lora_merge",
    )


@pytest.mark.fault(25)
def test_to_other_weights_they_are_not_merged(folder, base):
    weights = load_file(base / "model.safetensors")
    weights["norm.weight"][0] += 0.5
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    refuse(folder, "the weights of the base model .* of the adapters in .* have changed; restore the base model")


def test_damaged_adapters_are_refused(folder):
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(dict(list(weights.items())[1:]), folder / "adapter_model.safetensors", metadata={"format": "pt"})
    refuse(folder, "the adapters in .* are damaged .1 tensors differ")
    (folder / "adapter_model.safetensors").write_bytes(b"nothing")
    refuse(folder, "the adapters in .* are damaged")
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"pickle")
    refuse(folder, "contains only pickled adapters .adapter_model.bin., which are never loaded")


def test_a_predictors_adapters_are_no_tokenizer(folder):
    refuse(folder, "is not a KronosTokenizer", KronosTokenizer)


def test_the_folder_says_what_the_adapters_belong_to(folder, base):
    found = json.loads((folder / "base_model.json").read_text())
    assert found["name"] == str(base)
    assert len(found["sha256"]) == 64
