"""What the mT5 benchmarks compare: a filled-up vocabulary cuts texts as before, and batches hold every record once."""

from itertools import chain

import numpy as np

from benchmarks.mt5_batches import by_budget, counted, lognormal_lengths, made_batch, padded, random_order, spread
from benchmarks.mt5_rivals import FILLING, extra_pieces, filled_up
from mt5_ft.models.from_scratch import train_tokenizer
from mt5_ft.models.kept_pieces import choose_pieces
from mt5_ft.models.linear_cross_entropy import IGNORED

TEXTS = ["近两个月来，他常感到悲伤。", "She often felt sad for two months.", "胸口发闷、常常流泪。"]


def test_pieces_that_fill_up_change_no_text_and_are_trimmed_first():
    before = train_tokenizer(TEXTS, 400)
    full = filled_up(before, 5000)
    assert len(full) == 5000
    for text in TEXTS:
        assert full.convert_ids_to_tokens(full(text).input_ids) == before.convert_ids_to_tokens(before(text).input_ids)
    assert full.decode(full("<extra_id_0>").input_ids) == before.decode(before("<extra_id_0>").input_ids)
    extra = extra_pieces(full, TEXTS, 1024)
    assert len(choose_pieces(full, TEXTS, [FILLING], extra)) == 1024


def test_epochs_hold_every_record_once_and_the_budget_pads_less():
    lengths = lognormal_lengths(600)
    epochs = {"random": random_order(600, 8), "budget": by_budget(lengths, 4000)}
    shares = {}
    for name, epoch in epochs.items():
        assert sorted(chain.from_iterable(epoch)) == list(range(600))
        sizes = [(padded(lengths, rows), counted(lengths, rows)) for rows in epoch]
        shares[name] = np.sum(sizes, axis=0)
    assert shares["budget"][0] < 0.7 * shares["random"][0]
    assert shares["budget"][1] == shares["random"][1]
    assert len(spread(lengths, epochs["random"], 5)) == 5


def test_made_batches_are_as_long_as_their_records():
    lengths = lognormal_lengths(20)
    batch = made_batch(lengths, [3, 4, 5])
    assert batch["attention_mask"].sum(dim=1).tolist() == lengths[0][[3, 4, 5]].tolist()
    assert (batch["labels"] != IGNORED).sum(dim=1).tolist() == lengths[1][[3, 4, 5]].tolist()
