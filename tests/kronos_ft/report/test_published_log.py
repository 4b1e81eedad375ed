"""Text logs of the published scripts: both kinds of scripts, both stages, several starts, and files that are none."""

import json

import pytest

from kronos_ft.cli.main import main
from kronos_ft.report.published_log import unpack_log
from tests.untrusted import refusal

LOGGER = "2025-09-19 07:39:29 - {} - INFO - "
TOKENIZER_LOGGER, PREDICTOR_LOGGER = (LOGGER.format(f"{name}_training_rank_0") for name in ("tokenizer", "basemodel"))
PERIOD = 50


def csv_tokenizer(epochs=4, steps=200, done=None, prefix=""):
    """What the CSV tokenizer script logs: a reconstruction error that falls from 0.09 to 0.05."""
    lines = []
    for epoch in range(1, (done or epochs) + 1):
        for step in range(PERIOD, steps + 1, PERIOD):
            share = ((epoch - 1) * steps + step) / (epochs * steps)
            error = 0.09 - 0.04 * share
            lines += [
                f"{prefix}[Epoch {epoch}/{epochs}, Step {step}/{steps}] LR: {2e-4 * (1 - share):.6f}, "
                f"Loss: {error - 0.06:.4f}",
                f"{prefix}  - VQ Loss: -0.0690",
                f"  - Recon Loss Pre: {2 * error:.4f}",
                f"  - Recon Loss All: {error:.4f}",
            ]
        lines += [prefix, f"--- Epoch {epoch}/{epochs} Summary ---", f"Validation Loss: {error + 0.001:.4f}"]
        lines += ["Epoch Time: 0:03:20", "Total Training Time: 0:03:20", ""]
    return lines


def csv_predictor(epochs=2, steps=100, prefix=""):
    """What the CSV predictor script logs."""
    lines = []
    for epoch in range(1, epochs + 1):
        for step in range(PERIOD, steps + 1, PERIOD):
            lines.append(
                f"{prefix}[Epoch {epoch}/{epochs}, Step {step}/{steps}] LR: 0.000001, Loss: {3 - 0.1 * epoch:.4f}"
            )
        lines += [prefix, f"--- Epoch {epoch}/{epochs} Summary ---", f"Training Loss: {3.1 - 0.1 * epoch:.4f}"]
        lines += [f"Validation Loss: {3.02 - 0.1 * epoch:.4f}", "Epoch Time: 40.25 seconds", ""]
    return lines


def qlib(heading, loss, epochs=3, steps=100):
    """What a Qlib script prints."""
    lines = [heading]
    for epoch in range(1, epochs + 1):
        for step in range(PERIOD, steps + 1, PERIOD):
            lines.append(f"[Rank 0, Epoch {epoch}/{epochs}, Step {step}/{steps}] LR 0.000040, Loss: {loss:.4f}")
        lines += ["", f"--- Epoch {epoch}/{epochs} Summary ---", f"Validation Loss: {loss + 0.1:.4f}"]
        lines += ["Time This Epoch: 1 day, 0:02:10", "Total Time Elapsed: 0:02:10", ""]
    return lines


def unpacked(tmp_path, lines, name="train.log"):
    """States of a Trainer by folder, from a log with these lines."""
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {
        folder.name: json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        for folder in unpack_log(path, tmp_path)
    }


def at(state, step, term):
    return [entry[term] for entry in state["log_history"] if entry["step"] == step and term in entry]


def test_a_tokenizer_of_the_csv_scripts(tmp_path):
    (name, state), = unpacked(tmp_path, csv_tokenizer()).items()  # fmt: skip
    assert name == "train-tokenizer"
    assert (state["stage"], state["global_step"], state["max_steps"], state["epoch"]) == ("tokenizer", 800, 800, 4.0)
    assert at(state, 250, "loss") == [0.0175]
    assert at(state, 250, "recon_all") == [0.0775]
    assert at(state, 250, "recon_pre") == [0.155]
    assert at(state, 250, "bsq") == [-0.069]
    assert at(state, 250, "epoch") == [1.25]
    assert at(state, 250, "learning_rate") == [0.000138]
    assert at(state, 800, "eval_recon_all") == [0.051]
    assert at(state, 800, "train_runtime") == [800]
    assert at(state, 800, "learning_rate") == []  # printed as zero


def test_lines_that_are_logged_and_printed_count_once(tmp_path):
    plain = unpacked(tmp_path, csv_tokenizer())["train-tokenizer"]
    lines = [
        one for line in csv_tokenizer(prefix=TOKENIZER_LOGGER) for one in (line, line.removeprefix(TOKENIZER_LOGGER))
    ]
    assert unpacked(tmp_path, lines)["train-tokenizer"] == plain


def test_both_stages_in_one_log(tmp_path):
    lines = [*csv_tokenizer(prefix=TOKENIZER_LOGGER), *csv_predictor(prefix=PREDICTOR_LOGGER)]
    states = unpacked(tmp_path, lines)
    assert [*states] == ["train-tokenizer", "train-predictor"]
    predictor = states["train-predictor"]
    assert (predictor["global_step"], predictor["max_steps"]) == (200, 200)
    assert at(predictor, 200, "loss") == [2.8]
    assert at(predictor, 200, "eval_loss") == [2.82]
    assert at(predictor, 200, "epoch_time") == [40.25]
    assert unpacked(tmp_path, [*csv_tokenizer(), *csv_predictor()]) == states  # without the names of the loggers


@pytest.mark.parametrize(
    ("heading", "loss", "stage"),
    [
        ("[Rank 0] BATCHSIZE (per GPU): 50", 0.9, "tokenizer"),
        ("Effective BATCHSIZE per GPU: 50, Total: 50", 2.5, "predictor"),
        ("Predictor Model Size: 24.7M", 0.4, "predictor"),
        ("", -0.03, "tokenizer"),
        ("", 2.5, "predictor"),
    ],
)
def test_the_qlib_scripts(tmp_path, heading, loss, stage):
    state = unpacked(tmp_path, qlib(heading, loss))[f"train-{stage}"]
    assert state["stage"] == stage
    assert at(state, 150, "loss") == [loss]
    term = "eval_recon_all" if stage == "tokenizer" else "eval_loss"
    assert at(state, 300, term) == [pytest.approx(loss + 0.1)]
    assert at(state, 300, "epoch_time") == [86_530]


def test_the_last_start_is_read(tmp_path):
    state = unpacked(tmp_path, [*csv_tokenizer(done=3), *csv_tokenizer(epochs=2, done=1)])["train-tokenizer"]
    assert (state["global_step"], state["max_steps"]) == (200, 400)
    assert state["text_log"]["starts"] == 2


def test_values_that_are_not_finite_are_recorded_as_such(tmp_path):
    lines = [line.replace("Loss: 2.8000", "Loss: nan") for line in csv_predictor()]
    state = unpacked(tmp_path, lines)["train-predictor"]
    assert at(state, 150, "loss") == [None]
    assert at(state, 50, "loss") == [2.9]


def test_validation_without_windows_is_left_out(tmp_path):
    lines = [line.replace("Validation Loss: 2.82", "Validation Loss: 0.00") for line in csv_predictor()]
    state = unpacked(tmp_path, lines)["train-predictor"]
    assert at(state, 200, "eval_loss") == []
    assert state["text_log"]["without_validation"] == 1


def test_impossible_steps_are_no_lines_of_a_log(tmp_path):
    path = tmp_path / "train.log"
    path.write_text("[Epoch 1/2, Step 0/100] LR: 0.1, Loss: 1.0\n[Epoch 3/2, Step 1/100] LR: 0.1, Loss: 1.0\n")
    with pytest.raises(ValueError, match="it has no line such as"):
        unpack_log(path, tmp_path)


def test_a_log_of_a_windows_redirection(tmp_path):
    path = tmp_path / "train.log"
    path.write_bytes("\r\n".join(csv_predictor()).encode("utf-16"))
    assert [folder.name for folder in unpack_log(path, tmp_path)] == ["train-predictor"]


# The command


def test_the_report_says_where_it_comes_from(tmp_path, capsys):
    path = tmp_path / "train.log"
    path.write_text("\n".join([*csv_tokenizer(), *csv_predictor()]), encoding="utf-8")
    assert main(["report", str(path), "--lang", "en"]) == 0
    out = capsys.readouterr().out.splitlines()
    for stage in ("tokenizer", "predictor"):
        folder = tmp_path / f"train-{stage}"
        assert {str(folder / "report.md"), str(folder / "report.html")} <= {*out}
        text = (folder / "report.md").read_text(encoding="utf-8")
        assert f"Report of train-{stage} (Kronos {stage})" in text
        assert "This report was made from `train.log`, a text log of the published fine-tuning scripts." in text
        assert "The log does not contain settings, data splits, scaling, gradient norms," in text
        assert "<code>train.log</code>" in (folder / "report.html").read_text(encoding="utf-8")
        assert not (folder / "next.yaml").exists()
    tokenizer = (tmp_path / "train-tokenizer" / "report.md").read_text(encoding="utf-8")
    assert "| `recon_all` | 0.0875 | 0.0875 | 0.05 | falls | 0.081 | 0.051 (800) | 0.051 |" in tokenizer
    assert "800 of 800 steps" in tokenizer
    predictor = (tmp_path / "train-predictor" / "report.md").read_text(encoding="utf-8")
    assert "Training and validation are not comparable" in predictor


def test_the_report_in_chinese_elsewhere(tmp_path, capsys):
    path = tmp_path / "train.log"
    lines = [*csv_tokenizer(done=1), *csv_tokenizer()]
    path.write_text("\n".join(lines).replace("Validation Loss: 0.0510", "Validation Loss: 0.0000"), encoding="utf-8")
    assert main(["report", str(path), "--lang", "zh", "--output_dir", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "train-tokenizer" / "report.md").read_text(encoding="utf-8")
    assert "本报告根据已发布微调脚本的文本日志 `train.log` 生成（该阶段共启动 2 次，取最后一次）。" in text
    assert "有 1 轮打印的验证损失为 0" in text
    assert not (tmp_path / "train-tokenizer").exists()


def test_advice_is_not_a_file_of_settings(tmp_path, capsys):
    lines = csv_tokenizer(epochs=12)
    for epoch in range(4, 13):  # validation rises while training falls
        place = lines.index(f"--- Epoch {epoch}/12 Summary ---") + 1
        lines[place] = f"Validation Loss: {0.08 + 0.02 * epoch:.4f}"
    path = tmp_path / "train.log"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert main(["report", str(path), "--lang", "en"]) == 0
    text = (tmp_path / "train-tokenizer" / "report.md").read_text(encoding="utf-8")
    assert "The log does not hold the settings of the run." in text
    assert "they are options of `kronos-ft tokenizer`." in text


def test_two_logs_are_compared(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.log").write_text("\n".join(csv_tokenizer()), encoding="utf-8")
    words = ["report", tmp_path / "a.log", tmp_path / "b.log", "--output_dir", tmp_path / "both", "--lang", "en"]
    assert main([str(word) for word in words]) == 0
    assert "Comparison of 2 runs" in (tmp_path / "both" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"\x00\xff\xfe\x01", b"[1, 2]", b"Epoch 1/30 loss 0.3\n", b"Validation Loss: 0.3\n"]
)
def test_a_file_that_is_no_log(tmp_path, capsys, content):
    path = tmp_path / "train.log"
    path.write_bytes(content)
    said = refusal(capsys, main, ["report", path])
    assert "is neither a trainer_state.json nor a log of the published fine-tuning scripts" in said
    assert [one.name for one in tmp_path.iterdir()] == ["train.log"]


def test_a_folder_of_another_run_is_kept(tmp_path, capsys):
    other = tmp_path / "train-tokenizer"
    other.mkdir()
    (other / "trainer_state.json").write_text('{"log_history": []}')
    path = tmp_path / "train.log"
    path.write_text("\n".join(csv_tokenizer()), encoding="utf-8")
    assert "holds another run; pass another --output_dir" in refusal(capsys, main, ["report", path])
    assert (other / "trainer_state.json").read_text() == '{"log_history": []}'


def test_a_state_of_a_trainer_is_still_read(tmp_path, capsys):
    state = {"global_step": 10, "max_steps": 10, "log_history": [{"step": 10, "loss": 1.0}]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    assert main(["report", str(tmp_path / "trainer_state.json"), "--lang", "en"]) == 0
    assert "text log" not in (tmp_path / "report.md").read_text(encoding="utf-8")
