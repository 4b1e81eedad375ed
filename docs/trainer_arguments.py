"""The table of docs/trainer-arguments.md: every argument of transformers' Trainer, and what becomes of it here.

`python -m docs.trainer_arguments` writes the page; a test compares it with the settings.
"""

from dataclasses import fields
from pathlib import Path

from transformers import Seq2SeqTrainingArguments, TrainingArguments

from ft_core.io.files import write_text
from ft_core.training.arguments import RunArguments
from kronos_ft.training.predictor_arguments import KronosArguments
from mt5_ft.training.arguments import MT5Arguments

PAGE = Path(__file__).with_name("trainer-arguments.md")
START = """\
# Arguments of the Trainer

The settings of this library extend `TrainingArguments` (Kronos) and `Seq2SeqTrainingArguments` (mT5) of transformers.
Each argument works as in transformers, or is refused in one line with our name for it. None is accepted and ignored
without a message. `python -m docs.trainer_arguments` writes this page.

The trainers also take `compute_metrics`, `preprocess_logits_for_metrics`, `optimizers`, `optimizer_cls_and_kwargs`,
`callbacks` and `model_init`, a plain `TrainingArguments`, and a model given as a folder or name; see
[A loss, an asset, a metric](extending.md).

| argument | Kronos | mT5 |
|---|---|---|
"""
# by rules of their own; the texts quote what they say
RULES: dict[str, tuple[str | None, str | None]] = {
    "bf16": (None, "refused: set precision to bf16"),
    "fp16": (None, "refused: set precision to fp16"),
    "optim": ("works; also `muon`", "refused: set optimizer"),
    "torch_compile": ("refused: set compile_blocks to yes", None),
    "torch_compile_backend": ("refused: set compile_blocks to yes", None),
    "torch_compile_mode": ("refused: set compile_blocks to yes", None),
    "save_total_limit": ("refused: set keep_best", None),
    "dataloader_drop_last": ("refused: training batches are always full", None),
    "lr_scheduler_type": ("with one_cycle false; else ignored with a warning: set pct_start, div_factor", None),
    "lr_scheduler_kwargs": ("with one_cycle false; else ignored with a warning", None),
    "warmup_steps": ("with one_cycle false; else ignored with a warning: set pct_start", None),
    "greater_is_better": (None, "refused unless it is the direction of the metric; needed for a metric of your own"),
    "hub_strategy": ("`end` or `every_save`; others are refused",) * 2,
    "hub_always_push": ("refused with push_to_hub: a save during a running push is not pushed",) * 2,
    "push_to_hub": ("works; needs hub_model_id",) * 2,
    "learning_rate": ("works; also `auto`",) * 2,
    "do_train": ("works: the commands always train",) * 2,
    "do_eval": ("works; without evaluations ignored with a warning: set eval_strategy",) * 2,
    "local_rank": ("refused unless it equals LOCAL_RANK, which launchers set",) * 2,
    "metric_for_best_model": ("works for the terms that the trainer logs; for your own, extend `evaluation_terms`",)
    * 2,
    "include_for_metrics": ("`loss`; inputs are refused, because those of Kronos are several tensors", None),
    "optim_args": ("works, but not for optim muon",) * 2,
    "per_device_train_batch_size": (None, "works; ignored with a warning if tokens_per_batch is set"),
    "gradient_accumulation_steps": (None, "works; ignored with a warning if tokens_per_batch is set"),
}


def _cell(kind: type[RunArguments], name: str, at: int) -> str:
    """What becomes of an argument, in Markdown."""
    if rule := RULES.get(name, (None, None))[at]:
        return rule
    if name in kind.no_effect:
        return f"refused: {kind.no_effect[name][1]}"
    own = {one.name: one.default for one in fields(kind)}[name]
    theirs = {one.name: one.default for one in fields(Seq2SeqTrainingArguments)}[name]
    plain = [getattr(one, "value", one) for one in (own, theirs)]
    is_shown = plain[0] != plain[1] and not callable(plain[0]) and plain[0] is not None
    return f"works; default here: `{plain[0]}`" if is_shown and isinstance(plain[0], str | int | float) else "works"


def page() -> str:
    """The page, in Markdown."""
    of_kronos = {one.name for one in fields(TrainingArguments)}
    rows = []
    for one in fields(Seq2SeqTrainingArguments):
        kronos = _cell(KronosArguments, one.name, 0) if one.name in of_kronos else "-"
        rows.append(f"| `{one.name}` | {kronos} | {_cell(MT5Arguments, one.name, 1)} |\n")
    return START + "".join(rows)


if __name__ == "__main__":
    write_text(PAGE, page())
