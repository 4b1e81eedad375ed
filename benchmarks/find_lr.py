"""Is the learning rate that `find-lr` chooses close to the best of a grid?

    python -m benchmarks.find_lr grid [--stages tokenizer predictor tokenizer-best ...] [--starts 300 600 3000]
    python -m benchmarks.find_lr choose [--stages ...] [--starts ...]
    python -m benchmarks.find_lr table    writes the results file and prints the table of docs/find-lr.md

A tiny tokenizer and predictor are trained on the first 60 % of the embedded candles for so many steps; `grid` tunes
them on the last 40 % with each rate (batch 50, 30 passes, 210 steps), and `choose` with the rate that the search finds.
`tokenizer-best` and `predictor-best` are tuned with the preset `best` (Muon); `quantiles` is a head on the predictor.
`--markets FILE` takes the candles of a file instead; its rows are named by the file.
Runs that have ended are not repeated. Two stages may run in two processes; both use the same `--work` folder.
"""

import argparse
import contextlib
import io
import json
import sys
import time
from pathlib import Path

from benchmarks.comparison import RESULTS, machine
from benchmarks.kronos_recipes import as_argv, halves, windows_of
from ft_core.io.files import write_json
from ft_core.runs.folder import BEST_MODEL, METRICS_FILE
from ft_core.runs.record_schema import git_state, now, versions
from ft_core.training.find_lr.output import CURVE_FILE
from kronos_ft.cli.main import main as kronos_ft

RESULT = RESULTS / "find_lr.json"
RATES = ("1e-5", "3e-5", "1e-4", "3e-4", "1e-3", "3e-3", "1e-2")
STARTS = (300, 600, 3000)
STAGES = ("tokenizer", "predictor", "tokenizer-best", "predictor-best", "quantiles")
SAMPLE = "sample"
START = ("--learning_rate", "1e-3", "--per_device_train_batch_size", "32", "--seed", "7", "--model", "tiny")
SAVES = ("--eval_strategy", "steps", "--save_strategy", "steps", "--eval_steps", "300", "--save_steps", "300")
COST = "cpu_seconds.json"  # beside the metrics of a run


def _run(folder: Path, *words: object) -> None:
    """A run of the library without its output, unless it has ended before; its processor time is kept beside it."""
    if (folder / COST).is_file():
        return
    started, output = time.process_time(), io.StringIO()
    more = () if words[0] == "find-lr" else ("--overwrite", "--report_to", "none")
    with contextlib.redirect_stdout(output):
        code = kronos_ft([*map(str, words), "--output_dir", str(folder), *more])
    if code:
        raise SystemExit(f"failed: kronos-ft {' '.join(map(str, words))}\n{output.getvalue()}")
    write_json(folder / COST, {"cpu_seconds": time.process_time() - started})
    print(folder, time.process_time() - started, flush=True)


class Starts:
    """Weights that have had so many steps, and the words that fine-tune them on the later candles."""

    def __init__(self, work: Path, market: str = SAMPLE):
        self.work = work if market == SAMPLE else work / Path(market).stem
        self.earlier, self.later, bars = halves(market, self.work)
        self.windows = as_argv(windows_of(bars))

    def folder(self, stage: str, steps: int) -> Path:
        return self.work / f"start-{stage}-{steps}"

    def tokenizer(self, stage: str, steps: int) -> tuple[object, ...]:
        return () if stage == "tokenizer" else ("--tokenizer", self.folder("tokenizer", steps) / BEST_MODEL)

    def train(self, stage: str, steps: int) -> None:
        """Trains starting weights; those of a predictor on the tokens of the tokenizer of as many steps."""
        words = (*self.windows, *START, *SAVES, "--from_scratch", "--data", self.earlier, "--max_steps", steps)
        if stage == "predictor":
            self.train("tokenizer", steps)
        _run(self.folder(stage, steps), stage, *words, *self.tokenizer(stage, steps))

    def words(self, stage: str, steps: int) -> tuple[object, ...]:
        """The command line of a fine-tuning, but for the rate and the folder."""
        command, _, preset = stage.partition("-")
        trained = "predictor" if command == "quantiles" else command
        start = ("--model", self.folder(trained, steps) / BEST_MODEL, *self.tokenizer(command, steps))
        recipe = ("--preset", preset) if preset else ()
        return (command, *self.windows, "--data", self.later, "--seed", "1", *start, *recipe)

    def tuned(self, stage: str, steps: int, rate: str) -> Path:
        """The run of a rate."""
        return self.work / f"{stage}-{steps}-{rate}"

    def tune(self, stage: str, steps: int, rate: str) -> float:
        """The best validation score of a fine-tuning with a rate."""
        folder = self.tuned(stage, steps, rate)
        _run(folder, *self.words(stage, steps), "--learning_rate", rate)
        return json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))["best"]["value"]

    def choose(self, stage: str, steps: int) -> dict:
        """What `find-lr` finds for a fine-tuning, and its processor time."""
        folder = self.work / f"found-{stage}-{steps}"
        _run(folder, "find-lr", *self.words(stage, steps))
        return json.loads((folder / CURVE_FILE).read_text(encoding="utf-8")) | json.loads(
            (folder / COST).read_text(encoding="utf-8")
        )

    def row(self, stage: str, steps: int, rates: list[str]) -> dict:
        """What has ended: scores of the grid by rate, the rate that was found, and how far its score is above the best.

        `chosen` is None where the search has not ended, `score` where the run with the rate found has not.
        """
        ended = {rate: self.tuned(stage, steps, rate) for rate in rates}
        ended = {rate: folder for rate, folder in ended.items() if (folder / COST).is_file()}
        grid = {rate: _read(folder / METRICS_FILE)["best"]["value"] for rate, folder in ended.items()}
        seconds = sorted(_read(folder / COST)["cpu_seconds"] for folder in ended.values())
        row = {"grid": grid, "cpu_seconds_of_a_run": seconds[len(seconds) // 2], "chosen": None, "score": None}
        folder = self.work / f"found-{stage}-{steps}"
        if (folder / COST).is_file():
            found = _read(folder / CURVE_FILE)
            chosen = found["learning_rate"]
            row |= {"chosen": chosen, "cpu_seconds": _read(folder / COST)["cpu_seconds"]}
            row |= {name: found[name] for name in ("metric", "start", "trials", "trial_steps")}
            own = self.tuned(stage, steps, f"{chosen:g}")  # of a rate that is not in the grid
            scores = {float(rate): value for rate, value in grid.items()}
            scores |= {chosen: _read(own / METRICS_FILE)["best"]["value"]} if (own / COST).is_file() else {}
            row["score"] = scores.get(chosen)
        return row


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def table(rows: dict[str, dict]) -> list[str]:
    """Markdown: a line for each stage and start; the best of each is bold, and a run that has not ended is a dash."""
    rates = sorted({rate for row in rows.values() for rate in row["grid"]}, key=float)
    heads = ["weights", *rates, "found", "above the best, %", "search, runs"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, row in rows.items():
        best = min(row["grid"].values())
        texts = {rate: f"{value:.4f}" for rate, value in row["grid"].items()}
        cells = [f"**{texts[one]}**" if row["grid"].get(one) == best else texts.get(one, "-") for one in rates]
        above = "-" if row["score"] is None else f"{100 * (row['score'] / best - 1):.1f}"
        cost = "-" if row["chosen"] is None else f"{row['cpu_seconds'] / row['cpu_seconds_of_a_run']:.1f}"
        found = "-" if row["chosen"] is None else f"{row['chosen']:g}"
        lines.append(f"| {' | '.join([name, *cells, found, above, cost])} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("grid", "choose", "table"))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--starts", nargs="+", type=int, default=list(STARTS))
    parser.add_argument("--rates", nargs="+", default=list(RATES))
    parser.add_argument("--markets", nargs="+", default=[SAMPLE], help="CSV files; sample: the embedded candles")
    parser.add_argument("--work", type=Path, default=Path("runs/find-lr-benchmark"))
    options = parser.parse_args()
    rows = {}
    for market in options.markets:
        starts = Starts(options.work, market)
        for stage, steps in ((stage, steps) for stage in options.stages for steps in options.starts):
            if options.what == "grid":
                starts.train(stage.partition("-")[0].replace("quantiles", "predictor"), steps)
                for rate in options.rates:
                    print(market, stage, steps, rate, starts.tune(stage, steps, rate), flush=True)
            elif options.what == "choose":
                found = starts.choose(stage, steps)["learning_rate"]
                print(market, stage, steps, found, flush=True)
                if found not in map(float, options.rates):
                    starts.tune(stage, steps, f"{found:g}")
            elif any(starts.work.glob(f"{stage}-{steps}-*/{COST}")):
                name = f"{stage}, {steps} steps" + f", {Path(market).stem}" * (market != SAMPLE)
                rows[name] = starts.row(stage, steps, options.rates)
    if rows:
        about = {
            "written": now(),
            "machine": machine(),
            "versions": versions(),
            "git": git_state(Path(__file__).parent),
        }
        write_json(RESULT, {"rows": rows, **about})
        print("\n".join(table(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
