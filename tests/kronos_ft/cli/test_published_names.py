"""Names of the published scripts in a file of `--config` are answered with ours."""

import pytest

from ft_core.cli.option_table import read_table
from kronos_ft.cli.main import main
from kronos_ft.cli.published_names import BY_NAME, NAMES, names_of
from tests.untrusted import refusal

HINTS = [
    ("finetune", "basemodel_epochs: 3", "use predictor_num_train_epochs"),
    ("finetune", "tokenizer_epochs: 3", "use tokenizer_num_train_epochs"),
    ("finetune", "batch_size: 3", "use per_device_train_batch_size"),
    ("finetune", "adam_weight_decay: 0.1", "use weight_decay"),
    ("finetune", "log_interval: 50", "use logging_steps"),
    ("finetune", "exp_name: btc", "use output_dir (the folder base_path/exp_name)"),
    ("finetune", "pretrained_predictor: small", "use model"),
    (
        "finetune",
        "finetuned_tokenizer: x",
        "it has no counterpart here: kronos-ft finetune trains the predictor on the",
    ),
    ("finetune", "n_train_iter: 100", "it has no counterpart here: an epoch uses every window once; set max_steps"),
    (
        "finetune",
        "max_context: 512",
        "it has no counterpart here: set it for kronos-ft forecast and kronos-ft evaluate",
    ),
    ("tokenizer", "tokenizer_learning_rate: 1e-4", "use learning_rate"),
    ("tokenizer", "predictor_learning_rate: 1e-4", "only kronos-ft finetune has it, as predictor_learning_rate"),
    ("predictor", "basemodel_epochs: 3", "use num_train_epochs"),
    ("quantiles", "num_workers: 3", "use dataloader_num_workers"),
    ("forecast", "inference_sample_count: 5", "use num_paths"),
    ("evaluate", "backtest_batch_size: 5", "use batch_size"),
    ("sweep predictor", "basemodel_epochs: 3", "use num_train_epochs"),
    ("find-lr tokenizer", "tokenizer_epochs: 3", "use num_train_epochs"),
]


@pytest.mark.parametrize(("command", "line", "answer"), HINTS)
def test_a_published_name_is_answered_with_ours(tmp_path, capsys, command, line, answer):
    config = tmp_path / "old.yaml"
    config.write_text(line + "\n")
    said = refusal(capsys, main, [*command.split(), "--data", "sample", "--config", config])
    assert f"sets {line.split(':')[0]!r}, a setting of the published scripts; {answer}" in said
    assert f"run kronos-ft convert-config {config}" in said


def test_a_file_with_the_published_sections_is_named(tmp_path, capsys):
    config = tmp_path / "old.yaml"
    config.write_text("data: {data_path: btc.csv, clip: 5.0}\ntraining: {basemodel_epochs: 3}\n")
    said = refusal(capsys, main, ["finetune", f"--config={config}"])
    assert "has the sections of the published scripts (data, training)" in said
    assert "(for example, data_path is data here; basemodel_epochs is predictor_num_train_epochs here)" in said


def test_names_that_are_ours_too_are_accepted(tmp_path, capsys):
    config = tmp_path / "own.yaml"
    config.write_text("lookback_window: 20\nclip: 4.0\ntokenizer_learning_rate: 1e-4\nadam_beta1: 0.9\nsed: 1\n")
    said = refusal(capsys, main, ["finetune", "--data", "sample", "--config", config])
    assert "--sed is not a setting" in said


def test_a_misspelt_stage_is_answered_by_its_command(tmp_path, capsys):
    config = tmp_path / "old.yaml"
    config.write_text("basemodel_epochs: 3\n")
    assert "published" not in refusal(capsys, main, ["sweep", "predicter", "--config", config])


def test_each_name_of_ours_is_a_setting_of_a_command():
    commands = ("finetune", "forecast", "evaluate")
    known = set.union(*(names_of(command) for command in commands))
    assert known > {option.name for option in read_table("kronos_ft", "predictor")}
    assert len(BY_NAME) == len(NAMES)
    for one in NAMES:
        assert {*one.ours} <= known, one.name
        assert one.ours or one.note, one.name
