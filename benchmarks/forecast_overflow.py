"""Divergence of each overflow method beyond max_context from the exact method: trained weights, windows of real bars.

    python benchmarks/forecast_overflow.py --model DIR --tokenizer DIR --data FILE [--max_context 96]

All methods are teacher-forced with the tokens of the real bars, so all see the same past. Their logits of the coarse
token are compared bar by bar with those of the exact recomputation: Kullback-Leibler divergence, agreement of the most
likely token, negative log-likelihood of the real token.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from ft_core.io.files import write_json
from ft_core.runs.record_schema import versions
from kronos_ft import KronosPredictor, load_candles
from kronos_ft.data.timestamps import calendar_features
from kronos_ft.forecasting.decoding import Bars, Window, generate_tokens
from kronos_ft.forecasting.networks import load_networks
from kronos_ft.forecasting.sampling import Sampler

WAYS = (("exact", 1), ("reprefill", 8), ("reprefill", 16), ("reprefill", 32), ("roll", 1), ("trim", 1))


class LedSampler(Sampler):
    """Returns known tokens and records the logits."""

    def __init__(self, tokens: tuple[torch.Tensor, torch.Tensor]):
        super().__init__(0.0)
        self.tokens = tokens
        self.logits: list[torch.Tensor] = []

    def draw(self, logits: torch.Tensor, bar: int, part: int) -> torch.Tensor:
        """The known token of a bar."""
        if part == 0:
            self.logits.append(logits)
        return self.tokens[part][:, bar]


def main() -> int:
    """Runs the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--max_context", type=int, default=96)
    parser.add_argument("--horizon", type=int, default=64)
    parser.add_argument("--origins", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "forecast_overflow.json")
    options = parser.parse_args()

    predictor = KronosPredictor(*load_networks(options.model, options.tokenizer), "cpu", options.max_context)
    series = load_candles(options.data)[0]
    first = int(0.9 * len(series))
    origins = np.linspace(first, len(series) - options.horizon - 1, options.origins).astype(int)
    size = options.max_context + options.horizon
    windows = np.stack([series.values[o - options.max_context : o + options.horizon] for o in origins])
    past = windows[:, : options.max_context].astype(np.float32)
    bars = ((windows - past.mean(1, keepdims=True)) / (past.std(1, keepdims=True) + 1e-5)).clip(-5, 5)
    times = [series.timestamps[o - options.max_context : o + options.horizon] for o in origins]
    stamps = np.stack([calendar_features(one) for one in times])
    with torch.no_grad():
        tokens = predictor.tokenizer.encode(torch.from_numpy(bars.astype(np.float32)), half=True)
        stamps = torch.from_numpy(stamps.astype(np.int64))
        known, ahead = slice(0, options.max_context), slice(options.max_context, size)
        context = Bars(tokens[0][:, known], tokens[1][:, known], stamps[:, known])
        real = tokens[0][:, ahead], tokens[1][:, ahead]
        found = {}
        for overflow, every in WAYS:
            window = Window(options.max_context, overflow, every)
            count = window.trimmed(options.max_context, options.horizon)
            kept = context.slice(options.max_context - count, options.max_context)
            sampler = LedSampler(real)
            started = time.perf_counter()
            lengths = torch.full((len(origins),), count)
            generate_tokens(predictor.model, kept, lengths, stamps[:, ahead], 1, sampler, window)
            name = f"{overflow}, every {every}" if overflow == "reprefill" else overflow
            found[name] = torch.stack(sampler.logits, dim=1).log_softmax(-1), time.perf_counter() - started
    exact, exact_seconds = found["exact"]
    rows = {}
    for name, (logits, seconds) in found.items():
        beyond = slice(1, None)  # the first bar lies inside the window
        rows[name] = {
            "kl": float((exact.exp() * (exact - logits)).sum(-1)[:, beyond].mean()),
            "top1_agreement": float((exact.argmax(-1) == logits.argmax(-1))[:, beyond].float().mean()),
            "nll": float(-logits.gather(-1, real[0][..., None])[:, beyond].mean()),
            "time_of_exact": seconds / exact_seconds,
        }
        print(f"{name:22}" + "".join(f"  {key} {value:.4f}" for key, value in rows[name].items()))
    write_json(
        options.output,
        {
            "work": f"window of {options.max_context} bars, horizon {options.horizon}, led along real tokens",
            "origins": len(origins),
            "model": sum(parameter.numel() for parameter in predictor.model.parameters()),
            "ways": rows,
            "machine": {"threads": torch.get_num_threads(), **versions()},
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
