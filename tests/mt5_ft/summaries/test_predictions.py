"""Files of summaries: interrupted, killed, repeated and scored."""

import gzip
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from mt5_ft.cli.main import main
from mt5_ft.data.records import TaskFields, read_records, write_records
from mt5_ft.summaries.predictions import fingerprint, read_predictions
from tests.forked import Forked, program

ROOT = Path(__file__).parents[3]


@pytest.fixture
def summarize(start, data, tmp_path):
    def run(output, *words):
        command = ["summarize", "--model", start, "--input", data, "--output", tmp_path / output, "--max_length", "10"]
        return main([str(word) for word in [*command, "--batch_size", "4", *words]])

    return run


def test_summaries_in_input_order_and_the_same_bytes_twice(summarize, data, tmp_path):
    assert summarize("a.jsonl") == 0
    assert summarize("b.jsonl") == 0
    ids = [json.loads(line)["id"] for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()]
    assert ids == [json.loads(line)["id"] for line in data.read_text("utf-8").splitlines()]
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert summarize("c.jsonl", "--do_sample") == summarize("d.jsonl", "--do_sample") == 0
    assert (tmp_path / "c.jsonl").read_bytes() == (tmp_path / "d.jsonl").read_bytes()


@pytest.mark.parametrize("words", [(), ("--do_sample",)])
def test_an_interrupted_summary_goes_on(summarize, tmp_path, monkeypatch, capsys, words):
    import mt5_ft.summaries.generation as generation

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
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    perfect = [{"id": row["id"], "prediction": row["experience_and_reflection"]} for row in rows]
    write_records(tmp_path / "perfect.jsonl", perfect)
    assert main(["evaluate", "--predictions", str(tmp_path / "perfect.jsonl"), "--data", str(data)]) == 0
    scores = dict(line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert float(scores["rougeL"]) == 100


def test_a_process_killed_twice_gives_the_same_bytes(summarize, start, data, tmp_path):
    """SIGKILL at two random moments while batches are written."""
    words = ["--batch_size", "1", "--max_length", "24"]
    assert summarize("whole.jsonl", *words) == 0
    output, part = tmp_path / "cut.jsonl", tmp_path / "cut.jsonl.part"
    command = ["summarize", "--model", start, "--input", data, "--output", output, *words]
    rng, done = np.random.default_rng(0), 0
    for _ in range(2):
        process = Forked(tmp_path / "text", program, "mt5_ft", command)
        try:
            enough = done + 4
            process.wait_until(lambda enough=enough: part.exists() and part.read_bytes().count(b"\n") >= enough)
            time.sleep(rng.uniform(0, 0.05))
        finally:
            process.kill()
        assert part.read_bytes().count(b"\n") > done
        done = part.read_bytes().count(b"\n")
        with open(part, "ab") as file:
            file.write(b'{"positions": [1, 2')  # a kill inside a write, which is too rare to wait for
    assert summarize("cut.jsonl", *words) == 0
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_finished_part_is_kept_when_a_setting_differs(summarize, start, tmp_path, monkeypatch, capsys):
    import mt5_ft.summaries.generation as generation

    real, calls = generation.generate_batch, []

    def killed_after_three(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(generation, "generate_batch", killed_after_three)
        assert summarize("cut.jsonl") == 130
    part = tmp_path / "cut.jsonl.part"
    before = part.read_bytes()
    assert summarize("cut.jsonl", "--num_beams", "2") == 2
    assert (
        "contains 12 summaries of a run with other settings (num_beams: 1 -> 2); use the same"
        in capsys.readouterr().err
    )
    config = json.loads((start / "generation_config.json").read_text("utf-8"))
    (start / "generation_config.json").write_text(json.dumps(config | {"repetition_penalty": 2.0}), "utf-8")
    assert summarize("cut.jsonl") == 2
    assert "with other settings (model)" in capsys.readouterr().err
    assert part.read_bytes() == before
    assert summarize("cut.jsonl", "--num_beams", "2", "--overwrite") == 0
    assert not part.exists()


def test_the_same_command_after_the_end_has_nothing_to_do(summarize, tmp_path, monkeypatch, capsys):
    assert summarize("a.jsonl") == 0
    before = (tmp_path / "a.jsonl").read_bytes()
    monkeypatch.setattr("mt5_ft.summaries.predictions.generate_missing", None)
    assert summarize("a.jsonl") == 0
    assert "is already complete: 40 summaries" in capsys.readouterr().out
    assert summarize("a.jsonl", "--num_beams", "2") == 2
    assert "exists; pass --overwrite or another output" in capsys.readouterr().err
    (tmp_path / "a.jsonl").write_bytes(before + b"\n")
    assert summarize("a.jsonl") == 2


def test_the_input_is_never_the_output(summarize, data, tmp_path, capsys):
    before = data.read_bytes()
    (tmp_path / "link.jsonl").symlink_to(data)
    os.link(data, tmp_path / "hard.jsonl")
    for name in (data.name, "link.jsonl", "hard.jsonl"):
        assert summarize(name, "--overwrite") == 2
        assert "is the input file and would be overwritten; choose another output" in capsys.readouterr().err
    assert data.read_bytes() == before


def test_ids_keep_their_type_and_their_characters(summarize, data, tmp_path):
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()][:4]
    ids = [7, "8", "a\u2028b", "c\u0085d"]
    write_records(data, [row | {"id": row_id} for row, row_id in zip(rows, ids, strict=True)])
    assert summarize("p.jsonl") == 0
    lines = (tmp_path / "p.jsonl").read_text("utf-8").split("\n")[:-1]
    assert [json.loads(line)["id"] for line in lines] == ids
    assert list(read_predictions(tmp_path / "p.jsonl")) == ["7", "8", "a\u2028b", "c\u0085d"]


def test_predictions_of_other_texts_are_not_scored(summarize, data, tmp_path, refused, capsys):
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    numbered = [{key: value for key, value in row.items() if key != "id"} for row in rows]
    write_records(data, numbered)
    assert summarize("p.jsonl") == 0
    words = ["evaluate", "--predictions", tmp_path / "p.jsonl", "--data"]
    write_records(tmp_path / "other.jsonl", numbered[::-1])
    refused([*words, tmp_path / "other.jsonl"], "belong to other texts than those in")
    write_records(
        tmp_path / "more.jsonl", numbered + [row | {"case_description": f"{n}"} for n, row in enumerate(numbered * 2)]
    )
    refused([*words, tmp_path / "more.jsonl"], "80 of 120 records in")
    assert main([str(word) for word in [*words, tmp_path / "more.jsonl", "--allow_partial"]]) == 0
    assert "WARNING: fewer than half of the records are scored" in capsys.readouterr().err


def test_fields_are_those_that_were_summarised(summarize, data, tmp_path, capsys, refused):
    assert summarize("p.jsonl", "--source_fields", "case_description", "--target_fields", "causes") == 0
    words = ["evaluate", "--predictions", tmp_path / "p.jsonl", "--data", data]
    assert main([str(word) for word in words]) == 0
    references = [record.target for record in read_records(data, TaskFields(("case_description",), ("causes",)))[0]]
    perfect = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text("utf-8").splitlines()]
    perfect = [row | {"prediction": text} for row, text in zip(perfect, references, strict=True)]
    write_records(tmp_path / "p.jsonl", perfect)
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0
    assert dict(line.split() for line in capsys.readouterr().out.splitlines()[1:])["rougeL"] == "100.000"
    refused([*words, "--source_fields", "case_description"], "belong together; set both or neither")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b\x08\x00abc", "is a damaged gzip file"),
        (b'{"id": "a", "prediction": null}\n', ":1 has no id or no text prediction"),
        (b'{"id": "a"}\n', ":1 has no id or no text prediction"),
        (b'{"id": "a", "prediction": "b"}\n\n{"id": "a", "prediction": "c"}\n', ":3: id 'a' occurs twice"),
        (b'{"id": "a", "prediction"\n', ":1: not valid JSON"),
    ],
)
def test_predictions_that_cannot_be_scored(data, tmp_path, content, message, refused):
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    refused(["evaluate", "--predictions", path, "--data", data], message)
    path.unlink()
    refused(["evaluate", "--predictions", path, "--data", data], "does not exist; correct the path")


@pytest.fixture
def scored(data, tmp_path, capsys):
    """A function that scores perfect predictions with the given ids, and returns the file of scores."""

    def run(ids, *words, without_ids=False):
        rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
        perfect = [
            {"id": one, "prediction": row["experience_and_reflection"]}
            for one, row in zip(ids, rows, strict=False)
            if one is not None
        ]
        write_records(tmp_path / "perfect.jsonl", perfect)
        if without_ids:
            write_records(data, [{key: value for key, value in row.items() if key != "id"} for row in rows])
        command = ["evaluate", "--predictions", tmp_path / "perfect.jsonl", "--data", data]
        command += ["--output", tmp_path / "scores.json", *words]
        code = main([str(word) for word in command])
        return json.loads((tmp_path / "scores.json").read_text("utf-8")) if code == 0 else capsys.readouterr().err

    return run


def ids_of(data):
    return [json.loads(line)["id"] for line in data.read_text("utf-8").splitlines()]


def test_counts_of_pairs_are_in_the_file_of_scores(scored, data):
    scores = scored(ids_of(data))
    assert (scores["rougeL"], scores["matched"]) == (100, 40)
    assert scores["unmatched_predictions"] == scores["records_without_prediction"] == 0


@pytest.mark.parametrize("words", [(), ("--allow_partial",)])
def test_ids_from_0_are_not_scored_against_line_numbers(scored, words):
    assert "begin at 0, but the records of" in scored(range(40), *words, without_ids=True)


def test_line_numbers_are_ids_of_records_without_one(scored):
    assert scored(range(1, 41), without_ids=True)["rougeL"] == 100


def test_ids_that_match_in_part_need_a_flag(scored, data):
    ids = ids_of(data)
    ids = ["other", *ids[1:30], *[None] * 10]
    message = scored(ids)
    assert "11 of 40 records in" in message
    assert "1 of 30 predictions in" in message
    assert "(first: id 'other'); pass the file that was summarised, or --allow_partial to score the 29 pairs" in message
    scores = scored(ids, "--allow_partial")
    assert (scores["rougeL"], scores["matched"]) == (100, 29)
    assert (scores["unmatched_predictions"], scores["records_without_prediction"]) == (1, 11)


def test_predictions_of_dropped_records_need_no_flag(scored, data):
    ids = ids_of(data)
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    rows[3]["experience_and_reflection"] = " "
    write_records(data, rows)
    assert scored(ids, "--policy", "drop")["matched"] == 39


def test_another_id_field(summarize, data, tmp_path):
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()]
    write_records(data, [row | {"id": 1, "case": {"no": n + 0.5}} for n, row in enumerate(rows)])
    assert summarize("p.jsonl", "--id_field", "case.no") == 0
    assert json.loads((tmp_path / "p.jsonl").read_text("utf-8").splitlines()[1])["id"] == 1.5
    assert main(["evaluate", "--predictions", str(tmp_path / "p.jsonl"), "--data", str(data)]) == 0
    assert summarize("none.jsonl", "--id_field", "none") == 0
    assert json.loads((tmp_path / "none.jsonl").read_text("utf-8").splitlines()[1])["id"] == "2"


def test_defective_outputs_are_warned_of(data, tmp_path, capsys):
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()][:15]
    write_records(tmp_path / "few.jsonl", rows)
    texts = ["，，，，，，，，，，，，"] * 13 + [row["experience_and_reflection"] for row in rows[13:]]
    pairs = [{"id": row["id"], "prediction": text} for row, text in zip(rows, texts, strict=True)]
    write_records(tmp_path / "p.jsonl", pairs)
    words = ["evaluate", "--predictions", tmp_path / "p.jsonl", "--data", tmp_path / "few.jsonl"]
    assert main([str(word) for word in words]) == 0
    found = capsys.readouterr()
    assert "WARNING: the outputs are defective: 13 of 15 consist only of punctuation, 13 of 15 repeat" in found.err
    assert "only_punctuation_share       0.867" in found.out


def test_one_summary_for_all_records_is_warned_of(data, tmp_path, capsys):
    rows = [json.loads(line) for line in data.read_text("utf-8").splitlines()][:5]
    write_records(tmp_path / "few.jsonl", rows)
    text = rows[0]["experience_and_reflection"]
    write_records(tmp_path / "p.jsonl", [{"id": row["id"], "prediction": text} for row in rows])
    words = ["evaluate", "--predictions", tmp_path / "p.jsonl", "--data", tmp_path / "few.jsonl"]
    assert main([str(word) for word in words]) == 0
    found = capsys.readouterr()
    assert "WARNING: 5 of 5 outputs are identical to an output for another source and another reference" in found.err
    assert "identical_share              1.000" in found.out
    assert "defective_share              0.000" in found.out


def test_truncated_sources_are_warned_of(summarize, data, capsys):
    assert summarize("a.jsonl", "--max_source_length", "16") == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("WARNING")]
    assert "40 of 40 sources are longer than max_source_length=16 tokens, and 9" in line
    fitting = line.split("--max_source_length ")[1].split()[0]
    assert summarize("b.jsonl", "--max_source_length", fitting) == 0
    assert "2 of 40 sources are longer" in capsys.readouterr().err


def test_penalties_change_the_summaries(summarize, tmp_path):
    for name, words in (
        ("a", []),
        ("b", ["--repetition_penalty", "5"]),
        ("c", ["--num_beams", "3"]),
        ("d", ["--num_beams", "3", "--length_penalty", "-5"]),
        ("e", ["--min_length", "10"]),
    ):
        assert summarize(f"{name}.jsonl", *words) == 0
    texts = {name: (tmp_path / f"{name}.jsonl").read_text("utf-8") for name in "abcde"}
    assert texts["a"] != texts["b"]
    header = json.loads((tmp_path / "a.jsonl.meta.json").read_text("utf-8"))["made_from"]
    assert "repetition_penalty" not in header  # unfinished files of earlier versions go on


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--length_penalty", "2"], "length_penalty=2.0 has no effect without beams; set num_beams, e.g. 4"),
        (["--repetition_penalty", "0"], "repetition_penalty=0.0 is not positive; use e.g. 1.2"),
        (["--min_length", "11"], "min_length=11 is outside [0, max_length=10]; lower it"),
    ],
)
def test_settings_of_generation_are_checked_first(summarize, words, message, capsys):
    assert summarize("a.jsonl", *words) == 2
    assert message in capsys.readouterr().err


def test_gzip_is_read(tmp_path):
    path = tmp_path / "p.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 1, "prediction": "b"}\n'))
    assert read_predictions(path)["1"].text == "b"


def test_a_fingerprint_is_that_of_the_text():
    assert fingerprint("情绪") == fingerprint("情绪") != fingerprint("情绪 ")
