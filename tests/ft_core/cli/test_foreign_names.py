import pytest

from ft_core.cli.foreign_names import FOREIGN, HOW, WITHOUT, foreign_hint
from ft_core.cli.option_table import read_table
from kronos_ft.cli.main import main as kronos
from mt5_ft.cli.main import main as mt5
from tests.untrusted import refusal

MT5 = {
    "epochs": "use num_train_epochs",
    "lr": "use learning_rate",
    "batch_size": "use per_device_train_batch_size",
    "batch-size": "use per_device_train_batch_size",
    "text_column": "use source_fields, together with target_fields",
    "summary_column": "use target_fields, together with source_fields",
    "source_prefix": "use prefix",
    "model_name_or_path": "use model",
    "dataset_name": "use data",
    "train_file": "use data",
    "validation_file": "use validation_data",
    "use_peft": "use lora",
    "overwrite_output_dir": "use overwrite",
    "warmup_ratio": "use warmup_steps with a number below 1, which is a share of all steps",
    "num_beams": "use generation_num_beams",
    "trust_remote_code": "code of a repository is never run; leave it out",
}
KRONOS = {
    "epochs": "use num_train_epochs",
    "lr": "use learning_rate",
    "batch_size": "use per_device_train_batch_size",
    "model_name_or_path": "use model",
    "train_file": "use data",
    "validation_file": "the validation split is a part of data; use split_dates or split_ratios",
    "prediction_length": "use predict_window",
    "context_length": "use lookback_window",
    "horizon": "use predict_window",
    "use_peft": "use lora",
    "overwrite_output_dir": "use overwrite",
    "warmup_ratio": "use warmup_steps with a number below 1, which is a share of all steps",
}
FORECAST = {"prediction_length": "use horizon", "context_length": "use lookback", "num_samples": "use num_paths"}


@pytest.mark.parametrize(
    ("main", "command", "name", "hint"),
    [
        *((mt5, "train", *one) for one in MT5.items()),
        *((mt5, "plan", *one) for one in MT5.items()),
        *((kronos, "predictor", *one) for one in KRONOS.items()),
        *((kronos, "finetune", *one) for one in KRONOS.items()),
        *((kronos, "forecast", *one) for one in FORECAST.items()),
        (kronos, "quantiles", "use_peft", "use body lora"),
    ],
)
def test_foreign_name_is_answered_with_ours(capsys, main, command, name, hint):
    line = refusal(capsys, main, [command, "--data", "sample", f"--{name}", "1"])
    assert line.endswith(f"--{name.replace('-', '_')} is not a setting; {hint}")


def test_a_command_with_own_options(capsys):
    line = refusal(capsys, mt5, ["summarize", "--model_name_or_path", "x"])
    assert "--model_name_or_path is not an option; use model" in line
    assert "--test-file is not an option; use input" in refusal(capsys, mt5, ["summarize", "--test-file", "x"])


def test_yaml(tmp_path, capsys):
    config = tmp_path / "old.yaml"
    config.write_text("epochs: 3\n")
    line = refusal(capsys, mt5, ["train", "--data", "sample", "--config", config])
    assert "sets 'epochs', which is not a setting; use num_train_epochs" in line


def test_no_hint_without_the_setting():
    assert foreign_hint("text_column", ["data", "length_column_name"]) is None
    assert foreign_hint("lerning_rate", ["learning_rate"]) is None


def test_every_hint_can_be_given():
    """No name of the tables is a setting of mt5-ft train, and each hint is of a name that FOREIGN leads to."""
    train = {option.name for option in read_table("mt5_ft", "train")}
    assert not train & (FOREIGN.keys() - {"resume_from_checkpoint"})
    assert not train & WITHOUT.keys()
    for name, hints in HOW.items():
        assert hints.keys() <= {*FOREIGN[name]}
