"""Generation: what a summary must not contain, and how long it is."""

import copy

import torch

from mt5_ft.summaries.generation import GenerationSettings, generate_batch, sentinel_ids


def test_both_spellings_of_the_sentinels_are_suppressed(model, tokenizer):
    """The published vocabularies have them as ordinary pieces, with the mark of a word's beginning."""
    published = copy.deepcopy(tokenizer)
    published.add_tokens([f"\u2581<extra_id_{i}>" for i in range(3)])
    own, both = sentinel_ids(tokenizer), sentinel_ids(published)
    assert len(own) == 100
    assert len(both) == 103
    added = published.convert_tokens_to_ids("\u2581<extra_id_1>")
    model.resize_token_embeddings = None
    with torch.no_grad():
        model.shared = torch.nn.Embedding(len(published), model.config.d_model)
        model.encoder.embed_tokens = model.decoder.embed_tokens = model.shared
        model.lm_head = torch.nn.Linear(model.config.d_model, len(published), bias=False)
        model.lm_head.weight.zero_()
    model.config.vocab_size = len(published)
    hidden = []
    model.lm_head.register_forward_hook(
        lambda module, inputs, output: hidden.append(output.index_fill_(-1, torch.tensor([added]), 99))
    )
    texts = generate_batch(model.eval(), published, ["情绪"], GenerationSettings(max_length=6))
    assert hidden
    assert "extra_id" not in texts[0]


def test_fewest_tokens(model, tokenizer):
    settings = GenerationSettings(max_length=9, min_length=9)
    output = model.eval().generate(**tokenizer(["情绪"], return_tensors="pt"), max_length=9, min_length=9)
    assert output.shape[1] == 9
    assert generate_batch(model, tokenizer, ["情绪"], settings)
