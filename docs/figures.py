"""The picture of docs/loss.md: a tokenizer is trained, and every term of its loss is drawn as it was logged.

    python -m docs.figures

Five to ten minutes on two CPU cores; `--steps` and `--output` make it a trial. Its figures lie beside it as JSON.
"""

import argparse
import json
import tempfile
from pathlib import Path

from ft_core.io.files import write_json

PICTURES = Path(__file__).parent / "pictures"
STEPS = 1500
EVERY = 100
RATE = 3e-3
TERMS = ("loss", "recon_pre", "recon_all", "bsq", "commitment", "entropy_sample", "entropy_codebook")


def train(steps: int, folder: Path) -> list[dict]:
    """Log entries of a tokenizer of 20 bits, width 64, on the embedded BTC candles, from random weights.

    Args:
        steps (`int`): optimizer steps of 32 windows each.
        folder (`Path`): where the run goes.
    """
    from transformers import set_seed

    from kronos_ft import (
        KronosTokenizer,
        KronosTokenizerArguments,
        KronosTokenizerConfig,
        KronosTokenizerTrainer,
        WindowDataset,
        WindowShape,
        load_sample,
    )

    series = load_sample()
    windows = WindowDataset(series, "train", WindowShape(stride=10))
    held_out = WindowDataset(series, "validation", WindowShape(stride=20), embargo=WindowShape().length)
    set_seed(7)
    sizes = {"d_model": 64, "n_heads": 4, "ff_dim": 128, "n_enc_layers": 2, "n_dec_layers": 2, "group_size": 5}
    model = KronosTokenizer(KronosTokenizerConfig(**sizes))
    every = min(EVERY, max(1, steps // 2))
    args = KronosTokenizerArguments(
        output_dir=str(folder),
        learning_rate=RATE,
        per_device_train_batch_size=32,
        max_steps=steps,
        pct_start=0.1,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        logging_steps=10,
        seed=7,
        exact=True,
    )
    KronosTokenizerTrainer(model, args, windows, held_out).train()
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def curves(entries: list[dict]) -> dict[str, dict[str, list[float]]]:
    """Values by term, `train` and `validation`, each with the steps they were logged at."""
    found = {}
    for split, prefix in (("train", ""), ("validation", "eval_")):
        rows = [entry for entry in entries if f"{prefix}recon_all" in entry]
        found[split] = {"step": [row["step"] for row in rows]}
        found[split] |= {term: [round(row[prefix + term], 6) for row in rows] for term in TERMS}
    return found


def draw(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Three panels: the loss by parts, reconstruction alone, and what the reward is made of."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from kronos_ft import KronosTokenizerConfig

    figure, (parts, reconstruction, reward) = pyplot.subplots(1, 3, figsize=(13, 4), layout="constrained")
    held_out = found["validation"]
    steps = held_out["step"]
    for term, style in (("recon_pre", "C0--"), ("recon_all", "C0-"), ("bsq", "C3-"), ("loss", "k-")):
        parts.plot(steps[1:], held_out[term][1:], style, label=term, linewidth=2 if term == "loss" else 1.2)
    parts.axhline(0, color="grey", linewidth=0.8)
    below = [step for step, value in zip(steps, held_out["loss"], strict=True) if value < 0]
    if below:
        parts.axvline(below[0], color="grey", linestyle=":")
        parts.text(below[0], -0.04, f" loss below zero\n from step {below[0]}")
    parts.set_title("loss = (recon_pre + recon_all + bsq) / 2")
    parts.legend()

    for split, style in (("train", "C0:"), ("validation", "C0o-")):
        reconstruction.plot(found[split]["step"], found[split]["recon_all"], style, label=split, markersize=3)
    reconstruction.set_yscale("log")
    reconstruction.set_title("recon_all, the one to read")
    reconstruction.legend()

    weights = KronosTokenizerConfig()
    commitment = [weights.beta * value for value in held_out["commitment"]]
    both = zip(held_out["entropy_sample"], held_out["entropy_codebook"], strict=True)
    entropies = [weights.zeta * (weights.gamma0 * one - weights.gamma * all_) for one, all_ in both]
    reward.plot(steps, commitment, "C1-", label="beta * commitment")
    reward.plot(steps, entropies, "C2-", label="entropies, the codebook's rewarded")
    reward.plot(steps, held_out["bsq"], "C3-", linewidth=2, label="bsq, their sum")
    reward.axhline(0, color="grey", linewidth=0.8)
    reward.set_title("what bsq is made of")
    reward.legend(loc="center right")
    for axis in (parts, reconstruction, reward):
        axis.set_xlabel("step, validation" if axis is not reconstruction else "step")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    """Trains, and writes `tokenizer_loss.json` and `tokenizer_loss.png`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help=f"optimizer steps (default {STEPS})")
    parser.add_argument("--output", type=Path, default=PICTURES, help="folder of the picture and its figures")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = curves(train(options.steps, Path(folder) / "run"))
    write_json(options.output / "tokenizer_loss.json", {"steps": options.steps, "learning_rate": RATE, **found})
    draw(found, options.output / "tokenizer_loss.png")
    print(f"picture   {options.output / 'tokenizer_loss.png'}")


if __name__ == "__main__":
    main()
