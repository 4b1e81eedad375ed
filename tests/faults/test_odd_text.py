"""Family 26: empty, strange and over-long texts are trained on and summarised, or refused with file and line."""

import json

import pytest

from mt5_ft.cli.main import main as mt5
from mt5_ft.data.preprocessing import tokenize_records
from mt5_ft.data.records import EMOTION_SUMMARY, read_records
from mt5_ft.models.from_scratch import train_tokenizer
from mt5_ft.models.loading import load_tokenizer
from mt5_ft.summaries.metrics import score_texts
from tests.untrusted import refusal

pytestmark = pytest.mark.fault(26)

ODD = {
    "emoji": "😀👩‍👩‍👧‍👦🏳️‍🌈",
    "rare characters": "𠮷𡈽ꙮ𓀀",
    "right to left": "שלום עולם مرحبا",
    "combining marks": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢",
    "unusual blanks": "a\u3000b\u00a0c\u2028d\u200be",
    "a sentinel": "<extra_id_0> <extra_id_99> </s> <pad>",
    "one character": "。",
    "a very long text": "很长的文字。" * 5000,
    "a very long word": "a" * 20_000,
    "lines": "a\n\n\nb\r\nc",
    "markup": "<script>alert(1)</script> =1+1 | ${HOME} %s {0} \\n",
}


def row(number, text, **changes):
    values = {"id": number, "case_description": [text], "consultation_process": [""], "experience_and_reflection": text}
    return json.dumps({**values, **changes}, ensure_ascii=False)


@pytest.fixture
def odd(tmp_path):
    path = tmp_path / "odd.jsonl"
    path.write_bytes("".join(row(number, text) + "\n" for number, text in enumerate(ODD.values())).encode())
    return path


def test_they_are_read_as_they_are(odd):
    records, report = read_records(odd, EMOTION_SUMMARY)
    assert [one.target for one in records] == list(ODD.values())
    assert not report.defects


def test_tokens_are_within_their_limits(odd, made):
    records = read_records(odd, EMOTION_SUMMARY)[0]
    tokenizer = load_tokenizer(str(made / "mt5"))
    tokens, lengths = tokenize_records(records, tokenizer, max_source_length=16, max_target_length=8)
    assert max(map(len, tokens["input_ids"])) <= 16
    assert max(map(len, tokens["labels"])) <= 8
    assert min(map(len, tokens["labels"])) >= 2  # a piece and the end
    assert lengths.source_most > 16
    for name in ("emoji", "rare characters", "right to left"):
        ids = tokenizer(ODD[name]).input_ids
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == ODD[name]


def test_train_summarise_and_evaluate(odd, made, tmp_path, capsys):
    run, output = tmp_path / "run", tmp_path / "out.jsonl"
    words = [
        *("train", "--model", made / "mt5", "--data", made / "records.jsonl", "--validation_data", odd),
        *("--output_dir", run, "--max_source_length", 24, "--max_target_length", 12, "--precision", "fp32"),
        *("--max_steps", 1, "--eval_steps", 1, "--save_steps", 1, "--logging_steps", 1, "--warmup_steps", 0),
    ]
    assert mt5([str(word) for word in words]) == 0
    assert mt5(["summarize", "--model", str(run / "final"), "--input", str(odd), "--output", str(output)]) == 0
    found = [json.loads(line) for line in output.read_bytes().decode().splitlines()]
    assert [one["id"] for one in found] == list(range(len(ODD)))
    assert all(isinstance(one["prediction"], str) for one in found)
    scores = tmp_path / "scores.json"
    words = ["evaluate", "--predictions", output, "--data", odd, "--output", scores]
    assert mt5([str(word) for word in words]) == 0
    assert all(value == value for value in json.loads(scores.read_text()).values())


def test_scores_of_odd_texts_are_finite():
    texts = [*ODD.values(), "", " "]
    for pair in ((texts, texts), (texts, [""] * len(texts)), ([""] * len(texts), texts)):
        assert all(value == value for value in score_texts(*[[text[:500] for text in one] for one in pair]).values())


def test_a_vocabulary_of_many_characters(tmp_path):
    many = "".join(chr(0x4E00 + number) for number in range(1500))
    tokenizer = train_tokenizer([many, many[::-1]], vocab_size=400)
    assert tokenizer.decode(tokenizer(many).input_ids, skip_special_tokens=True) == many
    assert len(train_tokenizer(["a", "a a"])) > 100


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (row(9, "x", experience_and_reflection=""), ":3: the target ('experience_and_reflection') is empty"),
        (row(9, " \t\n"), ":3: the source ('case_description', 'consultation_process') is empty"),
        (row(9, "x", experience_and_reflection="\u0007"), "control character U+0007"),
        (json.dumps({**json.loads(row(9, "x")), "case_description": ["\ud83d"]}), "lone surrogate U+D83D"),
        (json.dumps({**json.loads(row(9, "x")), "experience_and_reflection": "a\udc00"}), "lone surrogate U+DC00"),
    ],
)
def test_refused_with_file_and_line(made, tmp_path, capsys, line, message):
    path = tmp_path / "odd.jsonl"
    path.write_bytes(f"{row(1, 'a')}\n{row(2, 'b')}\n{line}\n".encode())
    before = path.read_bytes()
    said = refusal(capsys, mt5, ["train", "--model", made / "mt5", "--data", path, "--output_dir", tmp_path / "run"])
    assert "odd.jsonl:3: " in said
    assert message in said
    said.encode()  # prints anywhere
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before
    assert len(read_records(path, EMOTION_SUMMARY, policy="drop")[0]) == 2


def test_half_an_emoji_where_nobody_reads_it(made, tmp_path):
    path = tmp_path / "odd.jsonl"
    rows = [{**json.loads(row(number, "a b c")), "note": "\ud83d"} for number in range(10)]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    output = tmp_path / "out.jsonl"
    words = ["summarize", "--model", made / "mt5", "--input", path, "--output", output, "--max_length", 4]
    assert mt5([str(word) for word in words]) == 0
    assert mt5(["subset", str(path), "--drop", "0.2"]) == 0
    assert mt5(["restore", str(path)]) == 0


def test_half_an_emoji_in_a_summary(made, tmp_path, capsys):
    data, predictions = tmp_path / "data.jsonl", tmp_path / "summaries.jsonl"
    data.write_text(row(1, "a b c") + "\n")
    predictions.write_text('{"id": 1, "prediction": "a \\ud83d c"}\n')
    words = ["evaluate", "--predictions", predictions, "--data", data, "--output", tmp_path / "scores.json"]
    assert "summaries.jsonl:1 contains the lone surrogate U+D83D" in refusal(capsys, mt5, words)
