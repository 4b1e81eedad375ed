"""What docs/tracking.md says: trackers have the terms, settings and name of a run, without a network."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.docs.markdown import ROOT
from tests.docs.tracker_stores import (
    assert_same,
    logged,
    prefixed,
    read_mlflow,
    read_swanlab,
    read_tensorboard,
    read_trackio,
    read_wandb,
)

pytestmark = pytest.mark.docs
TINY = (
    *("--data", "sample", "--model", "tiny", "--from_scratch", "--stride", "80", "--max_steps", "4"),
    *("--per_device_train_batch_size", "8", "--logging_steps", "2"),
)
TOKENIZER = ("-m", "kronos_ft", "tokenizer", *TINY)
EACH_TWO_STEPS = ("--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps", "--save_steps", "2")


def train(folder, *words):
    """One run in a process of its own, in `folder/run`: trackers keep threads and settings of the process."""
    stores = {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "TRACKIO_DIR": str(folder / "trackio"),
        "SWANLAB_MODE": "offline",
        "SWANLAB_LOG_DIR": str(folder / "swanlog"),
    }
    no_network = {
        **{"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1,localhost"},
        **{"HF_HUB_OFFLINE": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"},
    }
    path = os.pathsep.join([str(ROOT), *sys.path[1:]])
    done = subprocess.run(
        [sys.executable, *words, "--output_dir", str(folder / "run")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **no_network, **stores},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def interrupt(run):
    """Makes a finished run one that was killed after its second step."""
    for name in ("checkpoint-4", "best_model"):
        shutil.rmtree(run / name)
    (run / "training_metrics.json").unlink()


def with_prefixes(values):
    return {(prefixed(name), step): value for (name, step), value in values.items()}


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    """A run without a name that four trackers record, killed after its second step and resumed."""
    for package in ("wandb", "mlflow", "trackio", "tensorboard"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("resumed")
    words = (*TOKENIZER, *EACH_TWO_STEPS, "--report_to", "wandb", "mlflow", "trackio", "tensorboard")
    train(folder, *words)
    first = logged(folder / "run")
    interrupt(folder / "run")
    text = train(folder, *words, "--resume")
    assert "Changing param values is not allowed" not in text
    return folder, first


def test_a_resume_continues_the_run_of_wandb(resumed):
    folder, first = resumed
    run_id = json.loads((folder / "run/run.json").read_text())["id"]
    ((found, parts),) = read_wandb(folder).items()
    assert found == run_id
    assert [(part.name, part.ended_well) for part in parts] == [(f"run-{run_id[:6]}", True)] * 2
    assert_same(parts[0].values, with_prefixes(first))
    later = {key: value for key, value in logged(folder / "run").items() if key[1] > 2}
    assert_same(parts[1].values, with_prefixes(later))
    settings = parts[0].settings
    assert (settings["data/lookback_window"], settings["model/model"], settings["learning_rate"]) == (90, "tiny", 2e-4)
    assert settings["data/fingerprint"]
    assert settings["hub_token"] == "<HUB_TOKEN>"


def test_a_resume_continues_the_run_of_mlflow(resumed):
    folder, _ = resumed
    (run,) = read_mlflow(folder / "mlflow.db")
    assert run.name.startswith("run-")
    assert run.ended_well
    assert_same(run.values, logged(folder / "run"))
    assert (run.settings["data/lookback_window"], run.settings["model/model"]) == ("90", "tiny")


def test_a_resume_continues_the_run_of_trackio(resumed):
    folder, _ = resumed
    ((name, run),) = read_trackio(folder / "trackio/huggingface.db").items()
    assert name.startswith("run-")
    assert_same(run.values, with_prefixes(logged(folder / "run")))
    assert (run.settings["data/lookback_window"], run.settings["model/model"]) == (90, "tiny")


def test_a_resume_continues_the_run_of_tensorboard(resumed):
    folder, _ = resumed
    (events,) = (folder / "run/runs").iterdir()
    run = read_tensorboard(events)
    assert_same(run.values, with_prefixes(logged(folder / "run")))
    assert (run.settings["data/lookback_window"], run.settings["model/model"]) == (90, "tiny")


def test_each_stage_of_a_process_has_a_run_of_its_own(tmp_path):
    pytest.importorskip("wandb")
    pytest.importorskip("mlflow")
    words = ("-m", "kronos_ft", "finetune", *TINY, "--tokenizer_model", "tiny", "--report_to", "wandb", "mlflow")
    train(tmp_path, *words, "--project", "btc")
    records = [json.loads((tmp_path / f"run/{stage}/run.json").read_text()) for stage in ("tokenizer", "predictor")]
    parts = read_wandb(tmp_path)
    in_mlflow = read_mlflow(tmp_path / "mlflow.db")
    assert set(parts) == {record["id"] for record in records}
    assert len(in_mlflow) == 2
    for record, stage, other in zip(records, ("tokenizer", "predictor"), in_mlflow, strict=True):
        (run,) = parts[record["id"]]
        assert run.name == other.name == f"run-{stage}-{record['id'][:6]}"
        assert run.ended_well
        expected = logged(tmp_path / "run" / stage)
        assert {"loss", "eval_loss", "test_loss"} <= {name for name, _ in expected}
        assert_same(run.values, with_prefixes(expected))
        assert_same(other.values, expected)


def test_trackio_keeps_one_run_by_name(tmp_path):
    pytest.importorskip("trackio")
    train(tmp_path, *TOKENIZER, "--report_to", "trackio", "--project", "btc", "--run_name", "first")
    ((name, run),) = read_trackio(tmp_path / "trackio/btc.db").items()
    assert name == "first"
    assert {"train/recon_all", "eval/recon_all", "test/recon_all", "train/train_loss"} <= {
        term for term, _ in run.values
    }


def test_scores_of_summaries(tmp_path):
    pytest.importorskip("wandb")
    pytest.importorskip("mlflow")
    from mt5_ft.models.from_scratch import small_model, train_tokenizer

    sample = ROOT / "mt5_ft/data/sample/emotion_summary.jsonl"
    tokenizer = train_tokenizer(sample.read_text(encoding="utf-8").splitlines(), vocab_size=2500)
    tokenizer.save_pretrained(tmp_path / "model")
    small_model(len(tokenizer)).save_pretrained(tmp_path / "model")
    train(
        tmp_path,
        *("-m", "mt5_ft", "train", "--model", str(tmp_path / "model"), "--data", str(sample), "--max_steps", "4"),
        *("--max_source_length", "32", "--max_target_length", "16", "--eval_generate_rows", "4", "--use_cpu", "true"),
        *("--trim_vocab", "false", "--logging_steps", "2", "--run_name", "cases", "--report_to", "wandb", "mlflow"),
    )
    expected = logged(tmp_path / "run")
    ((part,),) = read_wandb(tmp_path).values()
    (run,) = read_mlflow(tmp_path / "mlflow.db")
    assert part.name == run.name == "cases"
    assert {"token_accuracy", "eval_rougeL", "eval_repeated_share", "final_rougeL"} <= {name for name, _ in expected}
    assert_same(part.values, with_prefixes(expected))
    assert_same(run.values, expected)
    assert part.settings["data/max_source_length"] == 32


def test_swanlab(tmp_path):
    pytest.importorskip("swanlab")
    words = (*TOKENIZER, *EACH_TWO_STEPS, "--report_to", "swanlab", "--project", "btc")
    train(tmp_path, *words)
    first = logged(tmp_path / "run")
    interrupt(tmp_path / "run")
    train(tmp_path, *words, "--resume")
    ((run_id, parts),) = read_swanlab(tmp_path / "swanlog").items()
    assert run_id == json.loads((tmp_path / "run/run.json").read_text())["id"]
    assert [(part.name, part.ended_well) for part in parts] == [(f"run-{run_id[:6]}", True)] * 2
    assert_same(parts[0].values, with_prefixes(first))
    assert parts[0].settings["data/lookback_window"] == 90
