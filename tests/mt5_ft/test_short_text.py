"""Every public object of `mt5_ft` prints as a few lines with its key facts, and plots where there is a picture."""

import inspect

import pytest
from matplotlib.axes import Axes

import mt5_ft
from mt5_ft import (
    GenerationSettings,
    MT5Collator,
    MT5DataArguments,
    MT5ModelArguments,
    load_model,
    plan_run,
    read_records,
    run_training,
    tokenize_records,
)
from mt5_ft.data.records import EMOTION_SUMMARY, Record
from mt5_ft.training.arguments import MT5Arguments

MOST_LINES, MOST_CHARACTERS = 5, 400


def check(one, *facts):
    text = repr(one)
    assert len(text.splitlines()) <= MOST_LINES, text
    assert len(text) <= MOST_CHARACTERS, text
    assert [fact for fact in facts if fact not in text] == [], text


def test_short_texts(make_trainer, tokenizer, data):
    records, report = read_records(data, EMOTION_SUMMARY)
    lengths = tokenize_records(records, tokenizer, max_source_length=48, max_target_length=32)[1]
    trainer = make_trainer()
    facts = [
        (GenerationSettings(num_beams=4), "num_beams=4"),
        (MT5DataArguments(data="sample"), "data='sample'", "max_source_length="),
        (MT5ModelArguments(model="small", from_scratch=True), "model='small'", "from_scratch=True"),
        (MT5Collator(tokenizer), "pads the sources and targets"),
        (EMOTION_SUMMARY, "case_description", "experience_and_reflection"),
        (records[0], records[0].id, "line 1", records[0].source[:20], f"({len(records[0].source)} characters)"),
        (report, "40 rows read, 40 kept", "defects: none"),
        (lengths, "source_mean=", "target_cut="),
        (trainer.args, "output_dir='", "learning_rate=0.001", "max_steps=4", "seed=42"),
        (trainer, "parameters on cpu", "32 training and 8 validation samples", "step 0 of 4"),
    ]
    for one, *words in facts:
        check(one, *words)
    public = {name for name in mt5_ft.__all__ if inspect.isclass(getattr(mt5_ft, name))}
    assert public == {type(one).__name__ for one, *_ in facts}


def test_a_record_of_short_texts_is_shown_as_it_is():
    assert repr(Record("7", "a\nb", "", 3, {})) == "Record '7', line 3\nsource: a b\ntarget: "


@pytest.fixture
def settings(start, data, tmp_path):
    """Settings of a run of two steps."""
    return (
        MT5ModelArguments(model=str(start)),
        MT5DataArguments(data=str(data), max_source_length=48, max_target_length=24),
        MT5Arguments(
            output_dir=str(tmp_path / "run"), max_steps=2, eval_steps=1, save_steps=1, logging_steps=1, warmup_steps=0,
            eval_generate_rows=2, generation_max_length=8, precision="fp32", use_cpu=True,
        ),
    )  # fmt: skip


def test_a_plan_and_the_result_of_its_run(settings):
    check(plan_run(*settings), "2 steps", "parameters", "memory about", "warnings and remarks: ")
    result = run_training(*settings)
    assert isinstance(result, dict)
    check(result, "2 of 2 steps", "best validation loss", "rouge1", "final", "training_metrics.json")
    assert isinstance(result.plot(), Axes)
    settings[-1].resume = True
    again = run_training(*settings)
    assert again == result
    check(again, "2 of 2 steps", "best validation loss")
    with pytest.raises(ValueError, match=r"was finished before; see its loss_curves.png"):
        again.plot()


def test_loading_shows_no_bar(start, capfd):
    load_model(str(start))
    assert capfd.readouterr() == ("", "")
