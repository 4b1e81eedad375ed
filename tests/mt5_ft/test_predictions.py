"""Files of summaries: interrupted, repeated and scored."""

import json

import pytest

from mt5_ft.cli import main
from mt5_ft.data.records import write_records


@pytest.fixture
def summarize(start, data, tmp_path):
    def run(output, *words):
        command = ["summarize", "--model", start, "--input", data, "--output", tmp_path / output, "--max_length", "10"]
        return main([str(word) for word in [*command, "--batch_size", "4", *words]])

    return run


def test_summaries_in_input_order_and_the_same_bytes_twice(summarize, data, tmp_path):
    assert summarize("a.jsonl") == 0
    assert summarize("b.jsonl") == 0
    ids = [json.loads(line)["id"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert ids == [json.loads(line)["id"] for line in data.read_text().splitlines()]
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert summarize("c.jsonl", "--do_sample") == summarize("d.jsonl", "--do_sample") == 0
    assert (tmp_path / "c.jsonl").read_bytes() == (tmp_path / "d.jsonl").read_bytes()


@pytest.mark.parametrize("words", [(), ("--do_sample",)])
def test_an_interrupted_summary_goes_on(summarize, tmp_path, monkeypatch, capsys, words):
    import mt5_ft.generation as generation

    assert summarize("whole.jsonl", *words) == 0
    real, calls = generation.generate_batch, []

    def killed_after_three(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(generation, "generate_batch", killed_after_three)
    assert summarize("cut.jsonl", *words) == 130
    assert not (tmp_path / "cut.jsonl").exists()
    with open(tmp_path / "cut.jsonl.part", "a") as part:
        part.write('{"positions": [1, 2')  # a line torn by the kill
    calls[:] = [1] * 10
    assert summarize("cut.jsonl", *words) == 0
    assert len(calls) == 10 + 7
    assert "(12 were done before)" in capsys.readouterr().out
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "cut.jsonl.part").exists()


def test_scores_of_a_file(summarize, data, tmp_path, capsys):
    assert summarize("p.jsonl") == 0
    capsys.readouterr()
    assert main(["evaluate", "--predictions", str(tmp_path / "p.jsonl"), "--data", str(data)]) == 0
    out = capsys.readouterr().out
    assert "40 of 40 records have a summary" in out
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    perfect = [{"id": row["id"], "prediction": row["experience_and_reflection"]} for row in rows]
    write_records(tmp_path / "perfect.jsonl", perfect)
    assert main(["evaluate", "--predictions", str(tmp_path / "perfect.jsonl"), "--data", str(data)]) == 0
    scores = dict(line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert float(scores["rougeL"]) == 100
