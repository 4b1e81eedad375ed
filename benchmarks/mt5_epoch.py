"""An epoch over a corpus: preset `fast` compared with the stock Seq2SeqTrainer and preset `original`, the reference.

    python -m benchmarks.mt5_epoch --data records.jsonl [--steps 4] [--seeds 3] [--output results.json]

Without `--data`, nothing is measured, and an existing results file is kept.

Wall time is from the start of the process to the last optimizer step, without evaluation. With `--steps N` it
is extrapolated from N steps of each, evenly spaced and alternating, because a full epoch of the reference takes more
than an hour on two cores; `--steps 0` measures all steps.

ROUGE would need published weights, which this benchmark does not use. Instead, both train a small model for a full
epoch, once per seed, with a constant learning rate of 1e-3, and the validation losses over the kept pieces are
compared. Correct: ours does not exceed the reference by more than the reference differs between seeds.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.comparison import RESULTS, Row, alternate, print_rows, write_rows
from benchmarks.mt5_rivals import FILLING, PIECES, Process, extra_pieces, write_full_model
from mt5_ft.data.records import named_fields, read_records

WORK = "mT5, one epoch, mt5-small shape, preset fast"
REFERENCE = "transformers Seq2SeqTrainer, reference settings"
GOAL = 4.0
KEPT = 20_480
SMALL_PIECES, SMALL_RATE = 9000, 1e-3
CONVERGENCE_RECORDS = 500


def _texts(data: Path, fields: list[str]) -> list[str]:
    records, _ = read_records(data, named_fields("", [fields[0]], [fields[1]]), "drop")
    return [text for record in records for text in (record.source, record.target)]


def _settings(data: Path, fields: list[str], extra: int, **more: object) -> dict:
    chosen = {"data": str(data), "source_fields": [fields[0]], "target_fields": [fields[1]], "policy": "drop"}
    return {"data": chosen, "languages": ["zh", "en", FILLING], "extra": extra, **more}


def epoch_row(data: Path, fields: list[str], steps: int, shape: str, pieces: int, kept: int) -> Row:
    """Wall time of an epoch of each; extrapolated from `steps` steps where it is not 0."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = _texts(data, fields)
        full = write_full_model(folder, texts, shape, pieces)
        settings = _settings(data, fields, extra_pieces(full, texts, kept))
        with Process(folder, "reference", settings) as reference, Process(folder, "ours", settings) as ours:
            both = {"reference": reference, "ours": ours}
            epochs = {rival: both[rival].ask("epoch") for rival in both}
            chosen = {
                rival: [int((place + 0.5) * epoch["steps"] / steps) for place in range(steps)]
                if steps
                else list(range(epoch["steps"]))
                for rival, epoch in epochs.items()
            }
            tokens = dict.fromkeys(both, 0)

            def step(rival: str, repeat: int) -> None:
                if repeat < len(chosen[rival]):
                    tokens[rival] += both[rival].ask("step", number=chosen[rival][repeat])["counted"] * (repeat >= 0)

            times = max(len(numbers) for numbers in chosen.values())
            seconds = alternate({rival: lambda repeat, r=rival: step(r, repeat) for rival in both}, times)
            starts = {rival: both[rival].start_seconds for rival in both}
    seconds = {rival: times[: len(chosen[rival])] for rival, times in seconds.items()}
    whole = {rival: starts[rival] + epochs[rival]["steps"] * statistics.mean(seconds[rival]) for rival in both}
    pairs = [a / b for a, b in zip(seconds["reference"], seconds["ours"], strict=False)]
    details = {
        "extrapolated": bool(steps),
        "timed_steps": {rival: len(times) for rival, times in seconds.items()},
        "steps_of_an_epoch": {rival: epoch["steps"] for rival, epoch in epochs.items()},
        "seconds_of_steps": seconds,
        "pairs": {"min": min(pairs), "median": statistics.median(pairs), "max": max(pairs)},
        "start_seconds": starts,
        "pieces": {rival: epoch["pieces"] for rival, epoch in epochs.items()},
        "records": epochs["ours"]["records"],
        "target_tokens_of_timed_steps": tokens,
    }
    how = f"extrapolated from {steps} of {epochs['ours']['steps']} steps each" if steps else "all steps"
    return Row(
        WORK,
        REFERENCE,
        GOAL,
        whole["reference"] / whole["ours"],
        note=how,
        reference_value=whole["reference"],
        our_value=whole["ours"],
        details=details,
    )


def convergence_row(data: Path, fields: list[str], seeds: int, pieces: int, records: int) -> Row:
    """Validation loss of a small model after a whole epoch of each over the first records, for several seeds."""
    with tempfile.TemporaryDirectory() as name:
        cut = Path(name) / data.name
        lines = data.read_text(encoding="utf-8").split("\n")[:records]
        cut.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return _convergence(cut, fields, seeds, pieces)


def _convergence(data: Path, fields: list[str], seeds: int, pieces: int) -> Row:
    found: dict[str, list[dict]] = {"reference": [], "ours": []}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_full_model(folder, _texts(data, fields), "tiny", pieces, seed)
            settings = _settings(data, fields, 0, seed=seed, arguments={"learning_rate": SMALL_RATE})
            common: list[int] = []
            for rival in ("ours", "reference"):
                with Process(folder, rival, settings) as process:
                    common = common or sorted(process.ask("kept")["pieces"])
                    for number in range(process.ask("epoch")["steps"]):
                        process.ask("step", number=number)
                    found[rival].append(process.ask("validate", pieces=common))
    losses = {rival: [each["loss"] for each in results] for rival, results in found.items()}
    spread = max(losses["reference"]) - min(losses["reference"])
    means = {rival: statistics.mean(values) for rival, values in losses.items()}
    return Row(
        "mT5, small model, one epoch: validation loss among kept pieces",
        REFERENCE,
        None,
        means["reference"] / means["ours"],
        correct=means["ours"] <= means["reference"] + spread,
        unit="nats",
        note=f"mean of {seeds} seeds, the reference's {spread:.3f} apart; {len(_texts(data, fields)) // 2} records",
        reference_value=means["reference"],
        our_value=means["ours"],
        details={"validation": found, "spread_of_seeds": spread},
    )


def rows(
    data: Path | None = None,
    steps: int = 4,
    seeds: int = 3,
    records: int = CONVERGENCE_RECORDS,
    fields: tuple[str, str] = ("text", "summary"),
    shape: str = "mt5-small",
    pieces: int = PIECES,
    kept: int = KEPT,
) -> list[Row]:
    """Wall time of an epoch, and the loss that it ends with.

    Args:
        data (`Path`, *optional*): JSONL file of records; nothing is measured without it.
        steps (`int`): timed steps of each, 0 for all.
        seeds (`int`): runs of the small model, 0 for none.
        records (`int`): first records that the small model is trained and validated on.
        fields: the fields that make source and target.
        shape, pieces, kept: smaller in tests.
    """
    if data is None:
        return [Row(WORK, REFERENCE, GOAL, note="pass --data FILE.jsonl, and --fields SOURCE TARGET")]
    found = [epoch_row(data, list(fields), steps, shape, pieces, kept)]
    if seeds:
        print_rows(found)  # the next takes minutes
        found.append(convergence_row(data, list(fields), seeds, min(pieces, SMALL_PIECES), records))
        found[0].correct = found[1].correct
    return found


def main() -> int:
    """Runs the comparison; returns 1 if our loss is above the reference's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="JSONL file of records; nothing is measured without it")
    parser.add_argument(
        "--fields", nargs=2, default=["text", "summary"], help="source and target (default text summary)"
    )
    parser.add_argument("--steps", type=int, default=4, help="timed steps of each, 0 for the whole epoch (default 4)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of the small model of each (default 3)")
    parser.add_argument(
        "--records",
        type=int,
        default=CONVERGENCE_RECORDS,
        help=f"first records for the small model (default {CONVERGENCE_RECORDS})",
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "mt5_epoch.json")
    options = parser.parse_args()
    found = rows(options.data, options.steps, options.seeds, options.records, tuple(options.fields))
    print_rows(found)
    if options.data or not options.output.exists():
        write_rows(options.output, found)
    return int(any(row.correct is False for row in found))


if __name__ == "__main__":
    raise SystemExit(main())
