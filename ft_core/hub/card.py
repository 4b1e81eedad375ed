"""The model card (README.md) of a pushed model: kind, origin, quality, and how to load it.

A card ends with a mark: a hash of the text above it. With it, a later push detects a card that was edited on the
Hub, and keeps it.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData, constants

from ..io.spreadsheet import markdown_text

TEMPLATE = Path(__file__).with_name("card.md.j2")
LICENCES = {"NeoQuasar/Kronos-": "mit", "google/mt5-": "apache-2.0"}
_LOADS = re.compile(r'\("\{repo\}"([^()]*)\)')
_MARK = re.compile(r"\n<!-- (?:written|pushed) by kronos-ft, ([0-9a-f]{64}) -->\n*$")


@dataclass(frozen=True)
class Result:
    """A result for the Hub's `model-index`.

    Args:
        dataset: what it was measured on, in words.
        dataset_type: a data set of the Hub, or what kind of data it is.
        split: the part of it.
        metric: the Hub's name of the metric.
        name: its name for people.
        value: the figure.
    """

    dataset: str
    dataset_type: str
    split: str
    metric: str
    name: str
    value: float


@dataclass
class CardFacts:
    """The content of a model card.

    Args:
        kind: what the model is, as the first words of a sentence.
        library: name of the library that loads it, for the Hub.
        pipeline: the Hub's name of its task.
        tags: the Hub's tags.
        usage: Python code that loads it; `{repo}` is replaced by the repository.
        base_model (*optional*): Hub repository that the training started from, where it is known.
        facts: what is known of the model, by name.
        limits: what to know before it is used, each a sentence.
        other_usage: a heading and code that loads it with the other library.
        base_commit (*optional*): commit of the base.
        is_adapter: whether the base is needed to load it.
        is_copy: whether it is the base as it was pulled, not trained since; the metadata then name no relation.
        summary: sentences that come first, such as the verdict of an evaluation; Markdown.
        intended: what it is for, each a sentence.
        sections: heading and lines of Markdown each.
        results: figures for the Hub's list of results.
        languages, datasets: of the Hub's metadata.
        emissions (*optional*): the Hub's `co2_eq_emissions`.
        remarks: lines for who pushes; no part of the card.
        changes: settings by file of the model that are pushed with another value, or not at all where that is None; no
            part of the card.
    """

    kind: str
    library: str
    pipeline: str
    tags: list[str]
    usage: str
    base_model: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)
    other_usage: tuple[str, str] | None = None
    base_commit: str | None = None
    is_adapter: bool = False
    is_copy: bool = False
    summary: list[str] = field(default_factory=list)
    intended: list[str] = field(default_factory=list)
    sections: list[tuple[str, list[str]]] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    emissions: dict[str, object] | None = None
    remarks: list[str] = field(default_factory=list)
    changes: dict[str, dict[str, object]] = field(default_factory=dict)


@dataclass(frozen=True)
class CardOptions:
    """Options of a push for the model card.

    Args:
        evaluation (`str`, *optional*): folder of an evaluation; one beside the run is found by itself.
        power (`float`, *optional*): mean power of a device in training, watts.
        carbon_intensity (`float`, *optional*): grams of CO2 equivalent a kWh.
        tokenizer (`str`, *optional*): Hub repository of the tokenizer that a predictor needs.
    """

    evaluation: str | None = None
    power: float | None = None
    carbon_intensity: float | None = None
    tokenizer: str | None = None


NO_OPTIONS = CardOptions()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; the first column is text, the others are figures."""
    lines = [f"| {' | '.join(header)} |", "|---|" + "---:|" * (len(header) - 1)]
    return [*lines, *(f"| {markdown_text(name)} | {' | '.join(cells)} |" for name, *cells in rows)]


def pairs(facts: Mapping[str, str]) -> list[str]:
    """A Markdown table of names and values."""
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]


def licence_of(base_model: str | None) -> str | None:
    """Licence of published weights, which fine-tuned ones inherit, or None where it is not known."""
    return next((licence for start, licence in LICENCES.items() if (base_model or "").startswith(start)), None)


def _metadata(facts: CardFacts, repo: str) -> ModelCardData:
    results = [
        EvalResult(
            task_type=facts.pipeline,
            dataset_type=one.dataset_type,
            dataset_name=one.dataset,
            dataset_split=one.split,
            metric_type=one.metric,
            metric_name=one.name,
            metric_value=one.value,
        )
        for one in facts.results
    ]
    further: dict[str, object] = {"co2_eq_emissions": facts.emissions} if facts.emissions else {}
    if facts.base_model and not facts.is_copy:
        further["base_model_relation"] = "adapter" if facts.is_adapter else "finetune"
    return ModelCardData(
        language=facts.languages or None,
        library_name=facts.library,
        pipeline_tag=facts.pipeline,
        tags=facts.tags,
        datasets=facts.datasets or None,
        base_model=None if facts.is_copy else facts.base_model,
        license=licence_of(facts.base_model),
        model_name=repo.split("/")[1] if results else None,
        eval_results=results or None,
        **further,
    )


def _loading(code: str, repo: str, revision: str | None) -> str:
    """Code that loads the model, from its branch where that is not main."""
    at = f", revision={json.dumps(revision)}" if revision not in (None, constants.DEFAULT_REVISION) else ""
    return _LOADS.sub(lambda found: f'("{repo}"{found[1]}{at})', code)


def model_card(facts: CardFacts, repo: str, revision: str | None = None) -> str:
    """The card as Markdown with the Hub's metadata before it, and its mark at the end.

    Args:
        facts ([`CardFacts`]): what it says.
        repo (`str`): `owner/name` that it is for.
        revision (`str`, *optional*): the branch, main by default; the code on the card loads the model from there.
    """
    card = ModelCard.from_template(
        _metadata(facts, repo),
        template_path=TEMPLATE,
        name=repo.split("/")[1],
        facts=facts,
        licence=licence_of(facts.base_model),
        pairs=lambda rows: "\n".join(pairs(rows)),
        loading=lambda code: _loading(code, repo, revision),
    )
    return marked(card.content)


def _digest(text: str) -> str:
    return hashlib.sha256(text.replace("\r\n", "\n").strip().encode()).hexdigest()


def marked(text: str, done: str = "written") -> str:
    """Adds a mark to a card: whether this library wrote or only pushed it."""
    return f"{text.rstrip()}\n\n<!-- {done} by kronos-ft, {_digest(text)} -->\n"


def own_card(text: str) -> str:
    """Adds a hash to a card that the user wrote; a later push uses it to detect edits on the Hub."""
    return text if is_untouched(text) else marked(_MARK.sub("", text.replace("\r\n", "\n")), "pushed")


def is_untouched(card: str) -> bool:
    """Whether a card is unchanged since this library wrote or pushed it."""
    text = card.replace("\r\n", "\n")
    mark = _MARK.search(text)
    return bool(mark) and _digest(text[: mark.start()]) == mark[1]
