"""The card (README.md) of a pushed model: what it is, where it comes from, how it is loaded, what it is not."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from huggingface_hub import ModelCardData

LICENCES = {"NeoQuasar/Kronos-": "mit", "google/mt5-": "apache-2.0"}


@dataclass
class CardFacts:
    """What a card says.

    Args:
        kind: what the model is, as the first words of a sentence.
        library: name of the library that loads it, for the Hub.
        pipeline: the Hub's name of its task.
        tags: the Hub's tags.
        usage: Python code that loads it; `{repo}` stands for the repository.
        base_model (*optional*): Hub repository that the training started from, where it is known.
        facts: what is known of the training, by name.
        limits: what to know before it is used, each a sentence.
    """

    kind: str
    library: str
    pipeline: str
    tags: list[str]
    usage: str
    base_model: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)


def licence_of(base_model: str | None) -> str | None:
    """Licence of published weights, which fine-tuned ones inherit, or None where it is not known."""
    return next((licence for start, licence in LICENCES.items() if (base_model or "").startswith(start)), None)


def model_card(facts: CardFacts, repo: str) -> str:
    """The card as Markdown with the Hub's metadata before it."""
    metadata = ModelCardData(
        library_name=facts.library,
        pipeline_tag=facts.pipeline,
        tags=facts.tags,
        base_model=facts.base_model,
        license=licence_of(facts.base_model),
    )
    base = facts.base_model
    origin = f", fine-tuned from [{base}](https://huggingface.co/{base})" if base else ""
    lines = [
        *("---", metadata.to_yaml(), "---", "", f"# {repo.split('/')[1]}", ""),
        f"{facts.kind}{origin}, pushed with kronos-ft.",
        *("", "```python", facts.usage.format(repo=repo), "```", ""),
    ]
    if facts.facts:
        lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.facts.items()), ""]
    lines += [*(f"- {limit}" for limit in facts.limits), ""]
    return "\n".join(lines)
