"""An optimizer step with the shape of mT5-small: preset `fast` compared with the stock Seq2SeqTrainer.

    python -m benchmarks.mt5_step [--repeats 3] [--output benchmarks/results/mt5_step.json]

Batch 2 x 256/256, 250,112 pieces compared with 20,480 after trimming, random weights. Every label is real: preset
`original` uses one record at a time, and DataCollatorForSeq2Seq pads only to the longest record of a batch. A row
without a goal is for labels padded to max_length, 256, of which 30 % are real. Each candidate has its own process, for
its peak memory; they alternate. Correct: the same loss over the kept pieces.
"""

import argparse
import math
import tempfile
from pathlib import Path

from benchmarks.comparison import RESULTS, Row, alternate, print_rows, ratio_figures, write_rows
from benchmarks.mt5_rivals import FILLING, PIECES, Process, extra_pieces, write_full_model
from mt5_ft.data.records import EMOTION_SUMMARY, read_records
from mt5_ft.runs.data import sample_path

WORK = "mT5 step, mt5-small shape, 250,112 pieces, batch 2 x 256/256, CPU"
REFERENCE = "transformers Seq2SeqTrainer, reference settings"
REAL_LABELS = 0.3
GOAL = 3.0
PADDED = ", labels padded to max_length, 30 % real"
BY_HAND = "padded when tokenised, as the reference settings do not"
LENGTH = 256
KEPT = 20_480
TOLERANCE = 1e-4
GIB = 2**30


def rows(
    repeats: int = 3, shape: str = "mt5-small", pieces: int = PIECES, kept: int = KEPT, length: int = LENGTH
) -> list[Row]:
    """Step times, peak memory and checkpoint of both.

    Args:
        repeats (`int`): steps of each, after one that warms up.
        shape, pieces, kept, length: smaller in tests.
    """
    records = read_records(sample_path(), EMOTION_SUMMARY)[0]
    texts = [text for record in records for text in (record.source, record.target)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        full = write_full_model(folder, texts, shape, pieces)
        settings = {"data": {"data": "sample"}, "languages": [FILLING], "extra": extra_pieces(full, texts, kept)}
        with Process(folder, "reference", settings) as reference, Process(folder, "ours", settings) as ours:
            both = {"reference": reference, "ours": ours}
            common = sorted(ours.ask("kept")["pieces"])
            made = {"length": length, "rows": 2, "pieces": common}
            seconds, losses = {}, {}
            for batch, share in (("some", REAL_LABELS), ("all", 1.0)):
                for rival in both.values():
                    rival.ask("make", batch=batch, share=share, **made)
            for rival in both:
                losses[rival] = both[rival].ask("loss", batch="some", pieces=common)
            for batch, times in (("all", repeats), ("some", max(1, repeats - 1))):
                seconds[batch] = alternate(
                    {rival: lambda _, r=rival, b=batch: both[r].ask("step", batch=b) for rival in both},
                    times,
                    warm_up=int(batch == "all"),
                )
            sizes = {rival: both[rival].ask("sizes") for rival in both}
    found = [losses["reference"]["loss"], losses["ours"]["loss"], losses["ours"]["own"]]
    correct = all(math.isclose(value, found[0], rel_tol=TOLERANCE) for value in found)
    details = {"loss_on_kept_pieces": found, "kept_pieces": len(common), "precision": sizes["ours"]["precision"]}

    def row(work: str, goal: float | None, figures: dict, **more: object) -> Row:
        figures["details"] = {**figures.get("details", {}), **details}
        return Row(work, REFERENCE, goal, correct=correct, **figures, **more)

    def share(what: str) -> dict:
        before, after = sizes["reference"][what] / GIB, sizes["ours"][what] / GIB
        return {"ratio": after / before, "reference_value": before, "our_value": after}

    compared = "the loss on kept pieces"
    return [
        row(WORK, GOAL, ratio_figures(*seconds["all"].values()), note=f"every label real; {compared}"),
        row(WORK + PADDED, None, ratio_figures(*seconds["some"].values()), note=BY_HAND),
        row(f"{WORK}: peak memory", 0.4, share("memory"), unit="GiB", at_most=True, note="of each process"),
        row(f"{WORK}: checkpoint", 0.4, share("checkpoint"), unit="GiB", at_most=True, note="weights and AdamW state"),
    ]


def main() -> int:
    """Runs the comparison; returns 1 if the losses differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "mt5_step.json")
    options = parser.parse_args()
    found = rows(options.repeats)
    print_rows(found)
    write_rows(options.output, found)
    return int(any(row.correct is False for row in found))


if __name__ == "__main__":
    raise SystemExit(main())
