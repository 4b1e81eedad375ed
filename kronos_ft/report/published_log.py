"""Reads the text logs of the published fine-tuning scripts, as the folders of a Trainer that a report is made from.

Notable:
- The lines are those of the Qlib scripts and of the CSV scripts, from standard output or from a log file, with or
  without the prefix of a logger. A line that occurs twice (logged and printed) counts once.
- The output of both stages is divided into one folder each. A script that was started again begins at the first step,
  because the published scripts do not resume: the last start of each stage is read.
- Values are as printed: the losses are those of one batch, with four decimals; the learning rate has six decimals, and
  one that is printed as zero counts as not recorded.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from ft_core.io.console import printable
from ft_core.io.files import write_json
from ft_core.report.reading import MOST_BYTES, MOST_STEPS, read_object
from ft_core.runs.folder import RUN_FILE, STATE_FILE

TOKENIZER, PREDICTOR = "tokenizer", "predictor"
LOG_KEY = "text_log"  # of the state: where it comes from
EXAMPLE = "[Epoch 1/30, Step 100/2000] LR: 0.000020, Loss: -0.0301"
NUMBER = r"([+-]?(?:\d{1,30}(?:\.\d{0,30})?(?:[eE][+-]?\d{1,3})?|nan|inf))"
STEP = re.compile(
    rf"\[(?:Rank \d+, )?Epoch (\d{{1,9}})/(\d{{1,9}}), Step (\d{{1,9}})/(\d{{1,9}})\] LR:? {NUMBER}, Loss: {NUMBER}"
)
PART = re.compile(rf"- (VQ Loss|Recon Loss Pre|Recon Loss All): {NUMBER}")
PART_TERMS = {"VQ Loss": "bsq", "Recon Loss Pre": "recon_pre", "Recon Loss All": "recon_all"}
SUMMARY = re.compile(r"--- Epoch (\d{1,9})/(\d{1,9}) Summary ---")
VALIDATION = re.compile(rf"Validation Loss: {NUMBER}")
TIME = re.compile(
    r"(?:Epoch Time|Time This Epoch): (?:(?:(\d{1,6}) days?, )?(\d{1,2}):(\d\d):(\d\d)|(\d{1,9}(?:\.\d+)?) seconds)"
)
MARKS = {  # lines that only one stage prints
    TOKENIZER: ("tokenizer_training_rank_", "Starting Tokenizer Fine-tuning Phase", "BATCHSIZE (per GPU)"),
    PREDICTOR: (
        *("basemodel_training_rank_", "Starting Basemodel Fine-tuning Phase", "Effective BATCHSIZE per GPU"),
        *("Predictor Model Size", "Training Loss: "),
    ),
}
LEAST_CROSS_ENTROPY = 0.5  # nats; below it a loss is the reconstruction error of a tokenizer


@dataclass
class _Start:
    """One start of a script."""

    stage: str = ""  # empty until a line tells it
    epochs: int = 0
    steps: int = 0  # in an epoch
    epoch: int = 0  # of the last summary
    training: dict[int, dict[str, object]] = field(default_factory=dict)  # entries by step
    summaries: dict[int, dict[str, object]] = field(default_factory=dict)  # validation and time by epoch
    without_validation: int = 0  # epochs whose validation had no windows

    @property
    def last(self) -> int:
        """The last logged step."""
        return max(self.training, default=0)

    def stage_or_guess(self) -> str:
        """The stage, guessed by the losses if no line tells it."""
        losses = [entry["loss"] for entry in self.training.values()]
        return self.stage or (TOKENIZER if min(losses) < LEAST_CROSS_ENTROPY else PREDICTOR)

    def state(self, file: str, starts: int) -> dict[str, object]:
        """The state of a Trainer with this history."""
        stage = self.stage_or_guess()
        term = "eval_recon_all" if stage == TOKENIZER else "eval_loss"
        evaluated = []
        for epoch, found in self.summaries.items():
            entry = {"step": epoch * self.steps, "epoch": float(epoch), **found}
            evaluated.append({term if name == "validation" else name: value for name, value in entry.items()})
        times = [found.get("epoch_time") for found in self.summaries.values()]
        if times and None not in times and [*self.summaries] == [*range(1, len(times) + 1)] and sum(times) > 0:
            end, seconds = len(times) * self.steps, sum(times)
            speed = {"train_runtime": seconds, "train_steps_per_second": end / seconds}
            evaluated.append({"step": end, "epoch": float(len(times)), **speed})
        step = max(self.last, max((entry["step"] for entry in evaluated), default=0))
        origin = {"file": file, "starts": starts, "without_validation": self.without_validation}
        history = sorted([*self.training.values(), *evaluated], key=lambda entry: entry["step"])
        return {
            **{"stage": stage, LOG_KEY: origin, "global_step": step, "max_steps": self.epochs * self.steps},
            **{"epoch": step / self.steps, "num_train_epochs": self.epochs, "log_history": history},
        }


def _seconds(found: re.Match) -> float:
    days, hours, minutes, seconds, plain = found.groups()
    return float(plain) if plain else ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds)


def _starts(text: str) -> list[_Start]:
    """All starts of scripts in a log, in order, without those that logged no training step."""
    starts = [_Start()]
    for line in text.splitlines():
        now = starts[-1]
        part = PART.search(line)
        marked = (
            TOKENIZER if part else next((stage for stage in MARKS if any(mark in line for mark in MARKS[stage])), "")
        )
        if marked and now.stage and marked != now.stage:
            starts.append(now := _Start())
        now.stage = marked or now.stage
        if found := STEP.search(line):
            epoch, epochs, step, steps = (int(one) for one in found.groups()[:4])
            at = (epoch - 1) * steps + step
            if not 0 < step <= steps or not 0 < epoch <= epochs or epochs * steps >= MOST_STEPS:
                continue
            if now.training and (at < now.last or (epochs, steps) != (now.epochs, now.steps)):
                starts.append(now := _Start(marked))
            now.epochs, now.steps = epochs, steps
            rate, loss = (float(one) for one in found.groups()[4:])
            entry = now.training.setdefault(at, {"step": at, "epoch": at / steps})
            entry |= {"loss": loss} | ({"learning_rate": rate} if rate > 0 else {})
        elif part and now.training:
            now.training[now.last][PART_TERMS[part[1]]] = float(part[2])
        elif found := SUMMARY.search(line):
            now.epoch = int(found[1])
        elif now.epoch and (found := VALIDATION.search(line)):
            value = float(found[1])
            summary = now.summaries.setdefault(now.epoch, {})
            if value == 0:  # printed when no window was validated
                now.without_validation += "none" not in summary
                summary["none"] = True
            else:
                summary["validation"] = value
        elif now.epoch and (found := TIME.search(line)):
            now.summaries.setdefault(now.epoch, {})["epoch_time"] = _seconds(found)
    for start in starts:
        for summary in start.summaries.values():
            summary.pop("none", None)
    return [start for start in starts if start.training]


def _text(path: Path) -> str:
    """The text of a file; that of a Windows redirection may be UTF-16."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"run={path} has more than {MOST_BYTES:,} bytes; pass the last part of the log")
    content = path.read_bytes()
    is_wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    return content.decode("utf-16" if is_wide else "utf-8-sig", errors="replace")


def unpack_log(path: Path, folder: Path) -> list[Path]:
    """Writes a text log of the published scripts as folders of a Trainer, `NAME-tokenizer` and `NAME-predictor`.

    Args:
        path: the log.
        folder: where the folders are made.

    Returns:
        `list[Path]`: the folders; none if the file is JSON, such as the state of a Trainer.

    Raises:
        ValueError: a file without a line of these scripts, or a folder that holds something else.
    """
    text = _text(path)
    if text.lstrip()[:1] == "{":
        return []
    found = _starts(text)
    if not found:
        raise ValueError(
            f"run={path} is neither a trainer_state.json nor a log of the published fine-tuning scripts: it has no "
            f"line such as {EXAMPLE}; pass a log with such lines, or the folder of a run"
        )
    last = {start.stage_or_guess(): start for start in found}
    folders = []
    for stage, start in last.items():
        target = folder / f"{path.stem}-{stage}"
        if (target / RUN_FILE).exists() or (
            (target / STATE_FILE).exists() and not read_object(target / STATE_FILE).group(LOG_KEY)
        ):
            raise ValueError(f"folder {target} holds another run; pass another --output_dir")
        target.mkdir(parents=True, exist_ok=True)
        starts = sum(one.stage_or_guess() == stage for one in found)
        write_json(target / STATE_FILE, start.state(printable(path.name), starts))
        folders.append(target)
    return folders
