"""A Hub token never reaches a log, a run folder, a model card or an error line."""

import pickle

import pytest
from transformers.training_args import TrainingArguments

from ft_core.io.secrets import without_secrets
from kronos_ft.cli.main import main as kronos
from kronos_ft.models.pretrained import HubUnreachable, find_pretrained
from kronos_ft.training.arguments import KronosTokenizerArguments
from kronos_ft.training.predictor_arguments import KronosArguments
from mt5_ft.cli.main import main as mt5
from mt5_ft.training.arguments import MT5Arguments
from tests.untrusted import files_of

TOKEN, OTHER = "hf_" + "SecretOfTheUser" * 2, "hf_" + "OfTheEnvironment" * 2


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", OTHER)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", OTHER)


def assert_nowhere(folder, *texts):
    for path, content in files_of(folder).items():
        for token in (TOKEN, OTHER):
            assert token.encode() not in content, path
    for text in texts:
        assert TOKEN not in text
        assert OTHER not in text


@pytest.mark.parametrize("kind", [KronosTokenizerArguments, KronosArguments, MT5Arguments])
def test_pickled_settings(tmp_path, kind):
    args = kind(output_dir=str(tmp_path / "run"), hub_token=TOKEN, use_cpu=True)
    assert TOKEN.encode() in pickle.dumps(TrainingArguments(str(tmp_path / "run"), hub_token=TOKEN))  # why this is here
    assert TOKEN.encode() not in pickle.dumps(args)
    again = pickle.loads(pickle.dumps(args))
    assert again.hub_token is None
    assert again.output_dir == args.output_dir
    assert args.hub_token == TOKEN  # a push still has it


def test_a_whole_run_of_candles(csv, tmp_path, capfd):
    run = tmp_path / "run"
    words = [
        *("tokenizer", "--data", csv, "--model", "tiny", "--from_scratch", "--output_dir", run, "--hub_token", TOKEN),
        *[
            "--lookback_window",
            "20",
            "--predict_window",
            "4",
            "--max_steps",
            "2",
            "--eval_strategy",
            "steps",
            "--eval_steps",
            "1",
        ],
        *["--save_strategy", "steps", "--save_steps", "1", "--logging_steps", "1"],
    ]
    assert kronos([str(word) for word in words]) == 0
    assert not (run / "checkpoint-2" / "training_args.bin").exists()
    assert_nowhere(tmp_path, *capfd.readouterr())
    assert kronos([str(word) for word in [*words, "--resume", "--seed", 9]]) == 2
    assert_nowhere(tmp_path, *capfd.readouterr())


def test_a_whole_run_of_records(made, tmp_path, capfd):
    run = tmp_path / "run"
    words = [
        *("train", "--model", made / "mt5", "--data", made / "records.jsonl", "--output_dir", run),
        *("--hub_token", TOKEN, "--precision", "fp32", "--max_source_length", 32, "--max_target_length", 16),
        *[
            "--max_steps",
            "2",
            "--eval_steps",
            "2",
            "--save_steps",
            "2",
            "--logging_steps",
            "1",
            "--warmup_steps",
            "0",
            "--eval_generate_rows",
            "2",
        ],
    ]
    assert mt5([str(word) for word in words]) == 0
    assert_nowhere(tmp_path, *capfd.readouterr())


@pytest.mark.parametrize(
    "words",
    [
        ["--hub_tokn", TOKEN],
        ["--hub_token", TOKEN, "--lerning_rate", "1"],
        ["--hub_token", TOKEN, "--max_steps", "many"],
        ["--hub_token", TOKEN, "--data", "nowhere.csv"],
        [f"--hub_token={TOKEN}", "--model", "owner/.."],
    ],
)
def test_errors(words, capfd, csv, tmp_path):
    for main, command in ((kronos, "tokenizer"), (kronos, "predictor"), (kronos, "finetune"), (mt5, "train")):
        assert main([command, "--data", str(csv), "--output_dir", str(tmp_path / "run"), *words]) == 2
        assert_nowhere(tmp_path, *capfd.readouterr())


def test_a_token_in_a_file_of_settings(capfd, csv, tmp_path):
    for text in (f"hub_token: {{a: {TOKEN}}}\n", f"hub_token: {TOKEN}\nlerning_rate: 1\n", f"hub_token: [{TOKEN}\n"):
        config = csv.parent / "recipe.yaml"
        config.write_text(text)
        for main, command in ((kronos, "tokenizer"), (kronos, "finetune"), (mt5, "train")):
            assert main([command, "--data", str(csv), "--config", str(config)]) == 2
            assert_nowhere(tmp_path / "run", *capfd.readouterr())


def test_a_hub_out_of_reach_is_told_without_the_token():
    with pytest.raises(HubUnreachable) as error:
        find_pretrained("owner/name", token=TOKEN)
    assert_nowhere("/nonexistent", str(error.value), repr(error.value.__context__))


def test_tokens_and_credentials_are_blanked(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    text = f"401 for https://user:{TOKEN}@hub/x with {OTHER}, Bearer {TOKEN} and 0123456789abcdef"
    assert without_secrets(text) == "401 for https://***@hub/x with ***, Bearer *** and ***"
    monkeypatch.setenv("HF_TOKEN", "a")
    assert without_secrets("a hf_ b https://host/a@b") == "a hf_ b https://host/a@b"
