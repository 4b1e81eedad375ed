import json
import statistics

import pytest

from benchmarks.fictional_records import compose_records, embedded_records, main
from mt5_ft.data.records import EMOTION_SUMMARY, FIVE_ASPECTS, read_records


def _source(record):
    return "".join(record["case_description"] + record["consultation_process"])


def test_records_are_the_same_for_a_seed_and_differ_in_their_sources():
    records = compose_records(300, 3)
    assert records == compose_records(300, 3)
    assert records != compose_records(300, 4)
    assert len({_source(record) for record in records}) == len({record["id"] for record in records}) == 300
    assert len({record["topic"] for record in records}) == 16


def test_composed_records_have_the_form_of_the_embedded_ones():
    composed, embedded = compose_records(400, 0), embedded_records()
    assert composed[0].keys() == embedded[0].keys()
    for measure in (lambda record: len(_source(record)), lambda record: len(record["experience_and_reflection"])):
        expected = statistics.mean(map(measure, embedded))
        assert statistics.mean(map(measure, composed)) == pytest.approx(expected, rel=0.05)
    texts = json.dumps([{**record, "id": ""} for record in composed], ensure_ascii=False)
    assert set(texts) <= set(json.dumps([{**record, "id": ""} for record in embedded], ensure_ascii=False)) | set(
        "0123456789"
    )
    assert "{" not in "".join(map(_source, composed))


def test_a_summary_names_person_feelings_method_and_outcome_of_its_record():
    for record in compose_records(50, 1, ["grief"]):
        summary, outcome = record["experience_and_reflection"], record["treatment_effect"].split("，", 1)[1]
        assert record["topic"] == "grief"
        assert outcome in summary
        assert record["symptoms"].removeprefix("常感到").split("，")[0] in summary
        assert ("她" in summary) == ("她" in "".join(record["case_description"])) or "他" not in summary + _source(
            record
        )


def test_written_records_are_read_by_the_library(tmp_path, monkeypatch):
    path = tmp_path / "records.jsonl"
    monkeypatch.setattr("sys.argv", ["fictional_records", str(path), "--size", "20", "--topics", "sleep", "workplace"])
    assert main() == 0
    for fields in (EMOTION_SUMMARY, FIVE_ASPECTS):
        assert len(read_records(path, fields)[0]) == 20
    assert {json.loads(line)["topic"] for line in path.read_text(encoding="utf-8").splitlines()} == {
        "sleep",
        "workplace",
    }


def test_an_unknown_topic_is_an_error_with_the_known_ones():
    with pytest.raises(ValueError, match="topic='sea' is not known; use some of breakup, career choice"):
        compose_records(1, 0, ["sea"])
