"""The model card of an mT5 model: data, recipe, scores, use and limits, from its run record."""

import re
from pathlib import Path

from ft_core.checkpoints.weights import count_parameters
from ft_core.hub.card import CardFacts, CardOptions, Result, pairs, table
from ft_core.hub.card_facts import RecordedRun, adapters_commit, add_training, named_base, pulled_base, read_run
from ft_core.io.spreadsheet import markdown_text

from ..models.task import read_task

USAGE = """\
from mt5_ft.models.loading import load_model, load_tokenizer

tokenizer = load_tokenizer("{repo}")
model = load_model("{repo}", tokenizer)"""
TRANSFORMERS_USAGE = """\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{repo}")
model = AutoModelForSeq2SeqLM.from_pretrained("{repo}")"""
RECIPE = {
    "optimizer": "optimizer",
    "warmup_steps": "warm-up, steps",
    "lr_scheduler_type": "schedule",
    "precision": "precision",
    "train_sampling_strategy": "order of records",
    "tokens_per_batch": "tokens per micro-batch",
    "target_tokens_per_step": "target tokens per step",
    "trim_vocab": "vocabulary trimmed to the records",
    "lora": "low-rank adapters",
    "lora_r": "their rank",
}
LORA = ("lora", "lora_r")
SCORES = {  # name in the record: the Hub's, and one for people
    "loss": ("loss", "cross-entropy per target token, nats"),
    "token_accuracy": ("accuracy", "accuracy of target tokens"),
    "rouge1": ("rouge", "ROUGE-1"),
    "rouge2": ("rouge", "ROUGE-2"),
    "rougeL": ("rouge", "ROUGE-L"),
    "chrf": ("chrf", "chrF"),
    "bleu": ("bleu", "BLEU"),
}
OTHER_SCORES = {
    "length_ratio": "length relative to the target",
    "empty_share": "share of empty summaries",
    "repeated_share": "share with repetitions",
    "repeated_characters": "share of repeated characters",
    "only_punctuation_share": "share of only punctuation",
}
LIMITS = [
    "Summaries may omit or invent facts; compare them with their source.",
    "This is not a clinical tool: it must not be used for diagnosis, treatment or decisions about a person.",
    "Scores count characters and words that targets and summaries share, not whether a summary is correct.",
]
CHINESE = re.compile(r"[\u4e00-\u9fff]")
LEAST_CHINESE = 0.5  # of the letters of the run's examples


def _languages(metrics: dict) -> list[str]:
    """`zh` if the examples of the run contain Chinese characters, otherwise no language."""
    texts = [value for one in metrics.get("examples") or () for value in one.values() if isinstance(value, str)]
    letters = [letter for text in texts for letter in text if letter.isalpha()]
    chinese = sum(bool(CHINESE.match(letter)) for letter in letters)
    return ["zh"] if letters and chinese >= LEAST_CHINESE * len(letters) else []


def _data_rows(facts: RecordedRun, task: dict | None) -> dict[str, str]:
    data, rows = facts.group("data"), {}
    if data:
        embedded = data.get("data") == "sample"
        rows["source"] = "the embedded sample of kronos-ft" if embedded else "records that are not published"
    counts = facts.group("records")
    if counts:
        rows["records"] = f"{counts['train']:,} for training, {counts['validation']:,} for validation"
    elif facts.metrics.get("validation_rows"):
        rows["records"] = f"{facts.metrics['validation_rows']:,} for validation"
    if task:
        rows["reads"] = markdown_text(", ".join(task["source_fields"]))
        rows["writes"] = markdown_text(", ".join(task["target_fields"]))
        rows["longest input, tokens"] = f"{task['max_source_length']}"
        rows["longest summary, tokens"] = f"{task['max_target_length']}"
    return rows


def _score_lines(metrics: dict) -> list[str]:
    final, loss = metrics.get("final") or {}, metrics.get("validation_loss") or {}
    names = {**{name: title for name, (_, title) in SCORES.items()}, **OTHER_SCORES}
    rows = [[title, f"{final[name]:.4g}"] for name, title in names.items() if isinstance(final.get(name), float)]
    if isinstance(loss.get("first"), float) and loss.get("first_step") == 0:
        rows.insert(0, ["cross-entropy before training, nats", f"{loss['first']:.4g}"])
    if not rows:
        return []
    counted = f"On {metrics['validation_rows']:,} validation records. " if metrics.get("validation_rows") else ""
    note = f"{counted}The checkpoint was selected on this split, so the metrics are slightly optimistic."
    return [*table(("score", "validation"), rows), "", note]


def _results(facts: RecordedRun) -> list[Result]:
    final = facts.metrics.get("final") or {}
    return [
        Result("validation records of the run", "records", "validation", metric, title, final[name])
        for name, (metric, title) in SCORES.items()
        if isinstance(final.get(name), float)
    ]


def mt5_card(folder: Path, run: Path | None, options: CardOptions, adapters_to: str | None = None) -> CardFacts:
    """The content of the card of an mT5 model.

    Args:
        folder (`Path`): the model's.
        run (`Path`, *optional*): the run that it is of.
        options ([`CardOptions`]): what the push says about it.
        adapters_to (`str`, *optional*): the Hub model that its adapters belong to.

    Raises:
        ValueError: a record that cannot be read, or options out of range.
    """
    facts, task = read_run(run, folder), read_task(folder)
    base, commit = named_base(facts, {}) if run is not None else pulled_base(folder)
    card = CardFacts(
        kind=f"mT5 {'adapters' if adapters_to else 'model'} for summaries",
        library="peft" if adapters_to else "transformers",
        pipeline="summarization",
        tags=["mt5", "summarization", "kronos-ft"],
        usage=USAGE,
        other_usage=None if adapters_to else ("With transformers alone", TRANSFORMERS_USAGE),
        base_model=adapters_to or base,
        base_commit=adapters_commit(folder) if adapters_to else commit,
        is_adapter=bool(adapters_to),
        is_copy=run is None and not adapters_to and base is not None,
        facts={"parameters": f"{count_parameters(folder):,}" + " of the adapters" * bool(adapters_to)},
        intended=["Summaries of records similar to the training records, for research, with human review."],
        limits=list(LIMITS),
        languages=_languages(facts.metrics),
        results=_results(facts),
    )
    if rows := _data_rows(facts, task):
        card.sections.append(("Data", pairs(rows)))
    if scores := _score_lines(facts.metrics):
        card.sections.append(("Metrics", scores))
    lora = facts.group("model").get("lora")
    add_training(card, facts, {k: v for k, v in RECIPE.items() if lora or k not in LORA}, options)
    return card
