"""`kronos-ft convert-config`: settings of the published scripts become ours, or are listed."""

import subprocess
import sys

import pytest
import yaml

from kronos_ft.cli.convert_config import convert_settings, read_config_py
from kronos_ft.cli.main import main
from kronos_ft.runs.routing import read_finetune
from tests.untrusted import refusal

OLD = """\
data:
  data_path: btc.csv
  lookback_window: 48
  predict_window: 6
  max_context: 512
  train_ratio: 0.8
  val_ratio: 0.15
  test_ratio: 0.05
training:
  tokenizer_epochs: 3
  basemodel_epochs: 2
  batch_size: 32
  accumulation_steps: 4
  num_workers: 0
  predictor_learning_rate: 0.000001
  adam_weight_decay: 0.05
model_paths:
  pretrained_tokenizer: pre/tokenizer
  pretrained_predictor: pre/small
  exp_name: hk
  base_path: out/
  base_save_path: ""
  finetuned_tokenizer: ""
experiment:
  use_comet: false
  train_tokenizer: true
  train_basemodel: false
  pre_trained_tokenizer: true
  pre_trained_predictor: false
  skip_existing: false
  banana: 1
device:
  use_cuda: false
  device_id: 1
"""
CONFIG_PY = """\
import os
os.system("touch ran")

class Config:
    def __init__(self):
        self.lookback_window = 90
        self.train_time_range = ["2011-01-01", "2022-12-31"]
        self.val_time_range = ["2022-09-01", "2024-06-30"]
        self.test_time_range = ["2024-04-01", "2025-06-05"]
        self.epochs: int = 30
        self.batch_size = 50
        self.n_train_iter = 2000 * self.batch_size
        self.save_path = "./outputs"
        self.use_comet = True
        self.inference_T = 0.6
        self.seed = __import__("os").getpid()
        other.name = 3
"""


def converted(capsys, path, *more):
    assert main(["convert-config", str(path), *map(str, more)]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_published_yaml(tmp_path, capsys):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(OLD)
    lines = converted(capsys, old, "--output", new)
    assert yaml.safe_load(new.read_text()) == {
        "split_ratios": [0.8, 0.15, 0.05],
        "output_dir": "out/hk",
        "tokenizer_gradient_accumulation_steps": 4,
        "tokenizer_per_device_train_batch_size": 8,
        "report_to": "none",
        "use_cpu": True,
        "predictor_from_scratch": True,
        "data": "btc.csv",
        "lookback_window": 48,
        "predict_window": 6,
        "tokenizer_num_train_epochs": 3,
        "predictor_num_train_epochs": 2,
        "per_device_train_batch_size": 32,
        "dataloader_num_workers": 0,
        "predictor_learning_rate": 1e-6,
        "weight_decay": 0.05,
        "tokenizer": "pre/tokenizer",
        "model": "pre/small",
    }
    assert [line.split(":")[0] for line in lines] == [
        *("max_context", "train_basemodel", "banana", "device_id"),
        f"settings           {new}",
    ]
    assert lines[1] == "train_basemodel: not converted; kronos-ft tokenizer trains the tokenizer alone"
    assert lines[2] == "banana: not converted; not a setting of the published scripts"


def test_finetune_reads_the_new_file(tmp_path, capsys):
    old = tmp_path / "old.yaml"
    old.write_text(OLD)
    converted(capsys, old)
    folder, stages = read_finetune(["--config", str(tmp_path / "old-kronos-ft.yaml")])
    assert str(folder) == "out/hk"
    tokenizer, predictor = stages["tokenizer"], stages["predictor"]
    assert (tokenizer["per_device_train_batch_size"], predictor["per_device_train_batch_size"]) == (8, 32)
    assert (tokenizer["num_train_epochs"], predictor["num_train_epochs"]) == (3, 2)
    assert (predictor["learning_rate"], predictor["from_scratch"]) == (1e-6, True)
    assert "from_scratch" not in tokenizer


def test_config_py_is_parsed_and_never_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.py").write_text(CONFIG_PY)
    lines = converted(capsys, "config.py", "--output", "new.yaml")
    assert not (tmp_path / "ran").exists()
    assert yaml.safe_load((tmp_path / "new.yaml").read_text()) == {
        "split_dates": ["2023-01-01", "2024-07-01"],
        "output_dir": "./outputs",
        "report_to": "comet_ml",
        "lookback_window": 90,
        "num_train_epochs": 30,
        "per_device_train_batch_size": 50,
    }
    assert lines[0] == "inference_T: not converted; set it for kronos-ft forecast and kronos-ft evaluate"
    assert lines[1].startswith(
        "n_train_iter: not converted, since its value is an expression, not a plain value; an epoch"
    )
    assert lines[2] == "seed: not converted, since its value is an expression, not a plain value; use seed"
    assert lines[3] == "data: not set; pass --data FILE, such as a CSV file of candles"


def test_other_assignments_are_not_read(tmp_path):
    path = tmp_path / "config.py"
    path.write_text("batch_size = 5\nself.clip = 5.0\nself.a.b = 1\nself.x[0] = 2\n")
    assert read_config_py(path) == ({"clip": 5.0}, [])
    path.write_text("self.clip = 5j\nself.seed = {1}\nself.data = b'x'\n")
    assert read_config_py(path) == ({}, ["clip", "seed", "data"])


def test_a_split_of_one_range_is_named_and_not_guessed():
    new, lines = convert_settings({"train_time_range": ["2011-01-01", "2022-12-31"]})
    assert new == {}
    assert lines == ["train_time_range: not converted; the first day of validation follows its end"]


def test_the_experiment_name_fills_its_place_in_the_folder():
    old = {"exp_name": "hk", "base_path": "ignored", "base_save_path": "/models/{exp_name}/1"}
    assert convert_settings(old) == ({"output_dir": "/models/hk/1"}, [])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("old.yaml", "a: 1\n", "no setting has a name of the published scripts"),
        ("old.yaml", "accumulation_steps: two\n", "accumulation_steps='two' cannot be converted to tokenizer_gradient"),
        ("old.yaml", "train_ratio: [1]\n", "train_ratio=[1] cannot be converted to split_ratios; correct the file"),
        ("config.py", "self.clip = (\n", "is not valid Python ('(' was never closed)"),
        ("config.py", "self.train_time_range = [1]\nself.val_time_range = [2]\n", "cannot be converted to split_dates"),
        ("old.json", "{}", "is no .yaml, .yml, .py file"),
    ],
)
def test_files_that_cannot_be_converted(tmp_path, capsys, name, text, said):
    (tmp_path / name).write_text(text)
    assert said in refusal(capsys, main, ["convert-config", tmp_path / name])
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_file(tmp_path, capsys):
    assert "cannot be read" in refusal(capsys, main, ["convert-config", tmp_path / "config.py"])
    assert "no.yaml" in refusal(capsys, main, ["convert-config", tmp_path / "no.yaml"])


def test_an_existing_file_is_kept(tmp_path, capsys):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text("clip: 5.0\n")
    new.write_text("mine: 1\n")
    assert "new.yaml exists; pass another name, or --overwrite" in refusal(
        capsys, main, ["convert-config", old, "--output", new]
    )
    assert new.read_text() == "mine: 1\n"
    converted(capsys, old, "--output", new, "--overwrite")
    assert yaml.safe_load(new.read_text()) == {"clip": 5.0}


def test_converting_imports_nothing_heavy(tmp_path):
    (tmp_path / "old.yaml").write_text(OLD)
    code = (
        "import sys; from kronos_ft.cli.main import main; assert main(['convert-config', sys.argv[1]]) == 0; "
        "assert not {'torch', 'transformers', 'pandas', 'numpy'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "old.yaml")], check=True, capture_output=True)
