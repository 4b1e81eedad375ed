"""The model that a run starts from: adapters on adapters are not lost; the vocabulary sample is bounded."""

import pytest
import torch

from mt5_ft.data.records import Record
from mt5_ft.models.loading import load_model
from mt5_ft.runs.start import VOCABULARY_CHARACTERS, VOCABULARY_RECORDS, vocabulary_sample


def test_adapters_on_adapters(train, capsys):
    _, first = train("--lora", "true", "--learning_rate", "0.1", output="first")
    again = ["--lora", "true", "--learning_rate", "1e-9", "--model", first / "final"]
    assert train(*again, output="second")[0] == 2
    assert (
        "contains adapters, which are lost if only the new adapters are saved; set lora_merge true too"
        in capsys.readouterr().err
    )
    code, second = train(*again, "--lora_merge", "true", output="second")
    assert code == 0
    one, two = (load_model(str(run / "final")).state_dict() for run in (first, second))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=0)


def records_of(lengths):
    return [Record(str(n), "s" * (length - 2), "t", n, {}) for n, length in enumerate(lengths)]


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([10, 20, 30], [10, 20, 30]),
        ([3_000_000, 100, 100], [VOCABULARY_CHARACTERS - 200, 100, 100]),
        ([3_000_000] * 4, [VOCABULARY_CHARACTERS // 4] * 4),
        ([200] * (2 * VOCABULARY_RECORDS), [200] * VOCABULARY_RECORDS),
    ],
)
def test_the_sample_for_a_vocabulary_is_bounded_in_records_and_characters(lengths, expected):
    assert [len(text) for text in vocabulary_sample(records_of(lengths))] == expected
