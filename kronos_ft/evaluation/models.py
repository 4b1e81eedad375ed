"""The models of an evaluation: which, under which name, and loaded."""

from dataclasses import dataclass
from pathlib import Path

from ft_core.hub.origin import split_revision
from ft_core.runs.folder import BEST_MODEL, FINAL_MODEL

from ..forecasting.predictor import KronosPredictor
from ..models.configuration_kronos import PREDICTOR_CONTEXT, PUBLISHED_PREDICTORS, PUBLISHED_TOKENIZERS
from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..models.pairing import mismatch
from ..models.pretrained import folder_of, weights_hash
from .arguments import EvaluateArguments
from .kronos_forecaster import KronosForecaster


@dataclass(frozen=True)
class ModelSource:
    """One model to evaluate: its name in the results, and where it and its tokenizer are."""

    name: str
    model: str
    tokenizer: str


def _short_name(model: str) -> str:
    """The last part of a path or Hub name that says something."""
    parts = [part for part in Path(model).parts if part not in (BEST_MODEL, FINAL_MODEL, "/")]
    return parts[-1] if parts else model


def model_sources(args: EvaluateArguments) -> list[ModelSource]:
    """The models named by `--model` or `--compare`.

    Raises:
        ValueError: none or both of them, a single one to compare, a model without a tokenizer, or a name twice.
    """
    if args.compare and args.model:
        raise ValueError("--model and --compare exclude each other; name all models after --compare")
    if not args.compare:
        if not args.model:
            raise ValueError("model is not set; pass --model DIR --tokenizer DIR, or --compare base=DIR finetuned=DIR")
        entries = [args.model]
    else:
        entries = args.compare
        if len(entries) < 2:
            raise ValueError(f"--compare {entries[0]} names one model; name two or more, e.g. base=DIR finetuned=DIR")
    found = []
    for entry in entries:
        name, rest = "", entry
        if args.compare and not Path(entry).exists():
            name, mark, after = entry.partition("=")
            rest, name = (after, name) if mark else (entry, "")
        model, _, tokenizer = (rest, "", "") if Path(rest).exists() else rest.partition(",")
        tokenizer = tokenizer or args.tokenizer
        if not tokenizer:
            raise ValueError(f"model {entry} has no tokenizer; pass --tokenizer DIR")
        found.append(ModelSource(name or _short_name(model), model, tokenizer))
    names = [one.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two models are named {twice[0]!r}; write NAME=DIR to tell them apart")
    return found


def pairing_remark(model: str, tokenizer: str, network: KronosTokenizer) -> str | None:
    """What is wrong with a predictor and a tokenizer of another, or None."""
    named, paired = split_revision(model)[0], split_revision(tokenizer)[0]
    return mismatch(folder_of(named), folder_of(paired), weights_hash(network))


def identity(source: ModelSource, model: Kronos, tokenizer: KronosTokenizer) -> dict[str, str | None]:
    """What an evaluation records of a model: its names, the hashes of its weights, and its commits on the Hub."""
    found = dict(vars(source))
    for prefix, network in (("", model), ("tokenizer_", tokenizer)):
        found[f"{prefix}sha256"] = weights_hash(network)
        found[f"{prefix}revision"] = network.hub_origin.commit if network.hub_origin else None
        found[f"{prefix}repository"] = network.hub_origin.repository if network.hub_origin else None
    return found


def _load_named(kind: type[Kronos] | type[KronosTokenizer], name: str) -> Kronos | KronosTokenizer:
    """A model of a folder, run folder, published size, or Hub name with or without `@revision`."""
    named, revision = split_revision(name)
    published = PUBLISHED_PREDICTORS if kind is Kronos else PUBLISHED_TOKENIZERS
    return kind.from_pretrained(published.get(named, folder_of(named)), revision=revision)


def load_networks(model: str, tokenizer: str) -> tuple[Kronos, KronosTokenizer]:
    """A predictor and its tokenizer from model folders, run folders, named sizes or Hub names (`@revision` after them).

    Raises:
        ValueError: a folder that holds something else.
        HubUnreachable: the Hub cannot be reached and the cache does not hold the model.
    """
    return _load_named(Kronos, model), _load_named(KronosTokenizer, tokenizer)


def load_forecasters(args: EvaluateArguments, sources: list[ModelSource]) -> list[KronosForecaster]:
    """Loads every model and tokenizer; a tokenizer that several models share is loaded once.

    Raises:
        ValueError: a folder that holds something else, or a tokenizer whose bits are not the model's.
    """
    tokenizers = {name: _load_named(KronosTokenizer, name) for name in sorted({source.tokenizer for source in sources})}
    forecasters = []
    for source in sources:
        model = _load_named(Kronos, source.model)
        bars = (
            PREDICTOR_CONTEXT.get(split_revision(source.model)[0], 512)
            if args.max_context is None
            else args.max_context
        )
        predictor = KronosPredictor(model, tokenizers[source.tokenizer], args.device, max_context=bars)
        forecasters.append(
            KronosForecaster(
                source.name,
                predictor,
                args.lookback,
                args.num_paths,
                T=args.T,
                top_k=args.top_k,
                top_p=args.top_p,
                seed=args.seed,
                overflow=args.overflow,
            )
        )
    return forecasters
