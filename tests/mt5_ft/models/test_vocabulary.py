"""A trimmed model writes as the full one does on kept pieces, and the full vocabulary comes back."""

import copy
import json
import shutil

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Tokenizer

from mt5_ft.models.kept_pieces import KeptIds, choose_pieces
from mt5_ft.models.loading import load_model, load_tokenizer
from mt5_ft.models.trim_report import measure_texts, measure_unseen
from mt5_ft.models.vocabulary import (
    KEPT_IDS_FILE,
    _rows,
    expand,
    expand_model,
    kept_ids,
    tables_digest,
    trim_model,
    trim_tokenizer,
    write_trimmed,
)

UNSEEN = ["龘龘 hello 😀 world", "emoji 👩‍👩‍👧 und Grüße, 12 345,67 €", "привет 你好 مرحبا", "\t a  b\n"]


@pytest.fixture
def texts(records):
    return [f"{record.source}\n{record.target}" for record in records[:10]]


@pytest.fixture
def kept(tokenizer, texts):
    return choose_pieces(tokenizer, texts)


@pytest.fixture
def trimmed(start, tokenizer, kept, tmp_path):
    """Folder of the trimmed model; `start` is that of the full one."""
    model = trim_model(load_model(str(start)), tokenizer, kept)
    folder = tmp_path / "trimmed"
    folder.mkdir()
    write_trimmed(folder, model, trim_tokenizer(tokenizer, kept), kept)
    return folder


def assert_same_weights(one, two):
    assert one.state_dict().keys() == two.state_dict().keys()
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name]), name


@pytest.mark.parametrize("load", [load_tokenizer, AutoTokenizer.from_pretrained])
def test_the_corpus_is_cut_and_decoded_as_before(trimmed, tokenizer, kept, texts, load):
    loaded = load(str(trimmed))
    assert len(loaded) == len(kept) < len(tokenizer)
    for text in texts:
        ids = tokenizer(text).input_ids
        assert kept.to_full(loaded(text).input_ids) == ids
        assert loaded.decode(loaded(text).input_ids) == tokenizer.decode(ids)
    figures = measure_texts(tokenizer, loaded, kept, texts)
    assert (figures.changed, figures.growth) == (0, 0)
    assert figures.coverage > 0.99


@pytest.mark.parametrize("load", [load_tokenizer, AutoTokenizer.from_pretrained])
@pytest.mark.parametrize("text", UNSEEN)
def test_any_other_text_comes_back_through_characters_and_bytes(trimmed, tokenizer, text, load):
    loaded = load(str(trimmed))
    ids = loaded(text).input_ids
    assert loaded.unk_token_id not in ids
    expected = tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)
    assert loaded.decode(ids, skip_special_tokens=True) == expected


def test_nothing_of_the_full_weights_stays_in_memory(start, tokenizer, kept):
    """Weights are views of their file, which would stay mapped as a whole."""
    model = trim_model(load_model(str(start)), tokenizer, kept)
    for parameter in model.parameters():
        assert parameter.untyped_storage().nbytes() == parameter.nbytes
    assert model.config._attn_implementation == "sdpa"  # which is measured and equal to eager; nothing is to be set


def test_special_pieces_keep_their_numbers(trimmed, tokenizer):
    for loaded in (load_tokenizer(str(trimmed)), AutoTokenizer.from_pretrained(trimmed)):
        assert (loaded.pad_token_id, loaded.eos_token_id, loaded.unk_token_id) == (0, 1, 2)
        assert set(loaded.all_special_tokens) == set(tokenizer.all_special_tokens)
        assert loaded("<extra_id_3>").input_ids == [loaded.convert_tokens_to_ids("<extra_id_3>"), 1]
        assert loaded.decode([*loaded("a").input_ids, loaded.convert_tokens_to_ids("<extra_id_3>")]).endswith("_3>")
    model = load_model(str(trimmed))
    for config in (model.config, model.generation_config):
        assert (config.pad_token_id, config.eos_token_id, config.decoder_start_token_id) == (0, 1, 0)


@torch.no_grad()
def test_logits_of_kept_pieces_are_those_of_the_full_model(trimmed, start, tokenizer, kept, texts):
    full, small = load_model(str(start)).eval(), load_model(str(trimmed), load_tokenizer(str(trimmed))).eval()
    assert small.lm_head.weight is not small.shared.weight
    assert small.config.vocab_size == len(small.shared.weight) == len(small.lm_head.weight)
    batch = tokenizer(
        texts[:4], text_target=texts[4:8], padding=True, truncation=True, max_length=40, return_tensors="pt"
    )
    logits = full(**batch).logits
    mapped = {
        name: torch.tensor([kept.to_kept(row) for row in batch[name].tolist()]) for name in ("input_ids", "labels")
    }
    found = small(**mapped, attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(found[..., : len(kept)], logits[..., kept.ids], rtol=1e-6, atol=1e-6)
    stock = AutoModelForSeq2SeqLM.from_pretrained(trimmed)
    assert torch.equal(stock.lm_head.weight, full.lm_head.weight[kept.ids])
    assert torch.equal(stock.shared.weight, full.shared.weight[kept.ids])


def test_expanding_what_was_trimmed_restores_it(trimmed, start):
    full = load_model(str(start))
    model, tokenizer = expand(str(trimmed))
    assert_same_weights(model, full)
    for one, two in ((model.config, full.config), (model.generation_config, full.generation_config)):
        assert {**one.to_dict(), "_name_or_path": ""} == {**two.to_dict(), "_name_or_path": ""}
    assert tokenizer.backend_tokenizer.to_str() == load_tokenizer(str(start)).backend_tokenizer.to_str()
    assert model.lm_head.weight is not model.shared.weight


def test_kept_ids_are_listed_and_follow_from_the_pieces(trimmed, tokenizer, kept):
    listed = json.loads((trimmed / KEPT_IDS_FILE).read_text("utf-8"))
    assert listed["kept_ids"] == kept.ids.tolist()
    assert kept_ids(load_tokenizer(str(trimmed)), tokenizer).ids.tolist() == kept.ids.tolist()
    with pytest.raises(ValueError, match="has other pieces than the full one"):
        kept_ids(tokenizer, load_tokenizer(str(trimmed)))


@pytest.mark.parametrize("lora", [(), ("--lora", "true")])
def test_training_changes_kept_rows_alone(trimmed, start, kept, train, lora):
    code, run = train("--model", trimmed, *lora)
    assert code == 0
    trained, full = load_model(str(run / "final")), load_model(str(start))
    model, tokenizer = expand(str(run / "final"))
    others = [row for row in range(len(full.shared.weight)) if row not in set(kept.ids.tolist())]
    assert others
    for name in ("shared", "lm_head"):
        after, small, before = (getattr(one, name).weight for one in (model, trained, full))
        assert torch.equal(after[others], before[others])
        assert torch.equal(after[kept.ids], small)
        assert torch.equal(after, before) == bool(lora)  # adapters leave the tables as they are
    name = "decoder.block.0.layer.0.SelfAttention.q.weight"
    assert torch.equal(model.state_dict()[name], trained.state_dict()[name])
    assert not torch.equal(model.state_dict()[name], full.state_dict()[name])
    assert len(tokenizer) > len(kept)


def test_a_trimmed_model_can_be_trimmed_again_and_expanded_step_by_step(trimmed, start, tmp_path):
    tokenizer = load_tokenizer(str(trimmed))
    kept = choose_pieces(tokenizer, ["你好"])
    assert len(kept) < len(tokenizer)
    folder = tmp_path / "smaller"
    folder.mkdir()
    write_trimmed(folder, trim_model(load_model(str(trimmed)), tokenizer, kept), trim_tokenizer(tokenizer, kept), kept)
    once, once_tokenizer = expand(str(folder))
    assert_same_weights(once, load_model(str(trimmed)))
    once.save_pretrained(tmp_path / "once")
    once_tokenizer.save_pretrained(tmp_path / "once")
    assert_same_weights(expand(str(tmp_path / "once"))[0], load_model(str(start)))


def test_what_cannot_be_expanded(trimmed, start, tmp_path, model):
    with pytest.raises(ValueError, match=r"was not trimmed \(its config.json has no full_model\)"):
        expand(str(start))
    moved = tmp_path / "moved"
    shutil.move(start, moved)
    with pytest.raises(ValueError, match=r"the full model of .* cannot be loaded .* pass --original DIR_OR_NAME"):
        expand(str(trimmed))
    assert_same_weights(expand(str(trimmed), str(moved))[0], load_model(str(moved)))
    with pytest.raises(ValueError, match="has another tokenizer than the model that"):
        expand(str(trimmed), str(trimmed))
    with torch.no_grad():
        model.shared.weight[7] += 1
    model.save_pretrained(moved)
    with pytest.raises(ValueError, match="has other embeddings than the model that"):
        expand(str(trimmed), str(moved))
    config = json.loads((trimmed / "config.json").read_text("utf-8"))
    (trimmed / "config.json").write_text(json.dumps({**config, "full_model_path": None}), "utf-8")
    with pytest.raises(ValueError, match="has no record of its full model; pass --original"):
        expand(str(trimmed))
    (trimmed / "config.json").write_text(json.dumps({**config, "full_model": [1]}), "utf-8")
    with pytest.raises(ValueError, match="was not trimmed"):
        expand(str(trimmed))


def test_rows_beyond_the_vocabulary_make_up_a_multiple():
    assert _rows(range(64), 100, 128) == list(range(64))
    assert _rows(range(100), 100, 128) == list(range(128))
    assert _rows([0, 1, 2], 3, 8) == list(range(8))  # as many as there are


def test_keeping_everything_changes_nothing(model, tokenizer):
    before = copy.deepcopy(model)
    everything = KeptIds(range(len(tokenizer)))
    assert_same_weights(trim_model(model, tokenizer, everything), before)
    assert_same_weights(expand_model(model, copy.deepcopy(before), everything, len(tokenizer)), before)


def test_models_and_pieces_that_do_not_fit(model, tokenizer, kept):
    with pytest.raises(ValueError, match="id 0 is not kept"):
        trim_model(copy.deepcopy(model), tokenizer, KeptIds([1, 2, 3]))
    with pytest.raises(ValueError, match="is not kept"):
        trim_tokenizer(tokenizer, KeptIds([1, 2, 3]))
    with pytest.raises(ValueError, match="but trimming the full model gives"):
        expand_model(model, copy.deepcopy(model), kept, len(tokenizer))
    model.lm_head = torch.nn.Linear(16, 8)
    with pytest.raises(ValueError, match="does not have the tables of mT5"):
        trim_model(model, tokenizer, kept)


def test_a_vocabulary_without_bytes_stays_one(tokenizer, tmp_path):
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁hello", -3.0), ("▁other", -4.0)]
    vocabulary += [(f"{letter}", -5.0) for letter in "abcdefgh"] + [("▁last", -9.0)]
    full = T5Tokenizer(vocab=vocabulary, extra_ids=2)
    kept = choose_pieces(full, ["hello abc"])
    small = trim_tokenizer(full, KeptIds(set(kept.ids.tolist()) - {5}))
    small.save_pretrained(tmp_path / "small")
    for loaded in (small, load_tokenizer(str(tmp_path / "small"))):
        assert loaded.tokenize("hello abc ö <extra_id_1>")[-1] == "<extra_id_1>"
        assert loaded("hello abc ö").input_ids[-2] == 2
        assert "▁other" not in loaded.get_vocab()


def test_unseen_text_is_measured_with_pieces_chosen_without_it(tokenizer, texts):
    assert measure_unseen(tokenizer, texts[:1], (), 0) is None
    figures = measure_unseen(tokenizer, texts, (), 0)
    assert figures.growth > 0
    assert 0 < figures.changed <= 1
    helped = measure_unseen(tokenizer, texts, ["zh"], 10_000)
    assert helped.growth < figures.growth


def test_digests_see_every_row(model):
    before = tables_digest(model)
    with torch.no_grad():
        model.lm_head.weight[-1, -1] += 1e-3
    assert tables_digest(model) != before
