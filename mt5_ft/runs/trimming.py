"""Runs with a trimmed vocabulary: pieces are selected from the records and stored in the run folder and the model."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TypedDict

from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ft_core.io.files import write_text
from ft_core.io.formats import read_json
from ft_core.runs.folder import KEPT_IDS_FILE

from ..data.records import Record
from ..models.kept_pieces import KeptIds, choose_pieces
from ..models.trim_report import TextFigures, measure_texts, measure_unseen
from ..models.vocabulary import kept_ids_text, tokenizer_digest, trim_model, trim_tokenizer
from ..training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments

MEASURED_RECORDS = 1000


@dataclass
class Trimming:
    """How a run's vocabulary is trimmed.

    Attributes:
        full, tokenizer (`PreTrainedTokenizerBase`): the model's tokenizer, and the one that is trained with.
        kept ([`KeptIds`]): ids of the full one.
        records ([`TextFigures`]): what the trimmed one makes of the records.
        unseen ([`TextFigures`], *optional*): what one of pieces chosen for nine tenths of at most `MEASURED_RECORDS`
            records makes of the last tenth.
    """

    full: PreTrainedTokenizerBase
    tokenizer: PreTrainedTokenizerBase
    kept: KeptIds
    records: TextFigures
    unseen: TextFigures | None

    def lines(self) -> list[str]:
        """Describes the trimmed vocabulary and its effect on texts."""
        # measured with another choice: that of nine tenths of at most MEASURED_RECORDS records
        left_out = "; records not used for a trial selection of pieces need"
        unseen = f"{left_out} {self.unseen.growth:+.1%} tokens" if self.unseen else ""
        texts, characters = f"{self.records.changed:.2%} of the texts", f"{self.records.coverage:.2%} of the characters"
        return [
            f"vocabulary  {len(self.full):,} -> {len(self.tokenizer):,} pieces; {texts} tokenised differently, "
            f"{characters} covered{unseen}"
        ]

    def apply(self, model: PreTrainedModel) -> PreTrainedModel:
        """Trims the full model, in place."""
        return trim_model(model, self.full, self.kept)

    def listed(self) -> str:
        """The content of `kept_ids.json`."""
        return kept_ids_text(self.kept, tokenizer_digest(self.full))


class ListedIds(TypedDict):
    """The content of `kept_ids.json`."""

    full_tokenizer_sha256: str
    kept_ids: list[int]


class KeepIds(TrainerCallback):
    """Writes `kept_ids.json` into the run's folder as training begins."""

    def __init__(self, trimming: Trimming):
        self.trimming = trimming

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        if state.is_world_process_zero:
            write_text(Path(args.output_dir) / KEPT_IDS_FILE, self.trimming.listed())


def _texts(records: Iterable[Record], prefix: str) -> Iterator[str]:
    """Sources and targets in turns, as the model reads and writes them."""
    return (text for record in records for text in (prefix + record.source, record.target))


def _recorded(run: Path, full: PreTrainedTokenizerBase) -> KeptIds | None:
    """The pieces that a resumed run has kept, or None if it has not started.

    Raises:
        ValueError: a file that cannot be used, or of another tokenizer.
    """
    path = run / KEPT_IDS_FILE
    if not path.is_file():
        return None
    remedy = "restore it or start over with --overwrite"
    try:
        recorded = read_json(path, remedy, ListedIds)
        digest, kept = recorded["full_tokenizer_sha256"], KeptIds(recorded["kept_ids"])
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path} is not a list of token ids ({error}); {remedy}") from error
    if digest != tokenizer_digest(full):
        raise ValueError(
            f"{path} belongs to another tokenizer than that of the model; pass the model that the run was started with"
        )
    return kept


def choose_trimming(
    full: PreTrainedTokenizerBase,
    settings: MT5ModelArguments,
    data: MT5DataArguments,
    args: MT5Arguments,
    splits: Sequence[Sequence[Record]],
) -> Trimming:
    """Selects the pieces to keep; a resumed run keeps its earlier selection.

    Args:
        full: the model's tokenizer.
        settings, data, args: the run's.
        splits (`Sequence[Sequence[Record]]`): records that are trained on, and those that are validated on.

    Raises:
        ValueError: a tokenizer that cannot be trimmed, or a damaged record of a resumed run.
    """
    choice = settings.trim_languages, settings.trim_extra
    kept = _recorded(Path(args.output_dir), full) if args.resume else None
    if kept is None:
        kept = choose_pieces(full, _texts(chain(*splits), data.prefix), *choice)
    trimmed = trim_tokenizer(full, kept)
    every = -(-sum(map(len, splits)) // MEASURED_RECORDS)
    some = list(_texts(islice(chain(*splits), 0, None, every), data.prefix))
    return Trimming(
        full, trimmed, kept, measure_texts(full, trimmed, kept, some), measure_unseen(full, some, *choice, texts_each=2)
    )
