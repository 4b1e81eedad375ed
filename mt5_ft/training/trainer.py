"""Trainer of mT5: a token-weighted loss that does not depend on accumulation or ranks, and generation metrics.

Notable:
- MT5's forward accepts `num_items_in_batch` and ignores it, so that the stock Trainer multiplies loss and gradients by
  accumulation steps and ranks (transformers issue 47688). Here the summed cross-entropy is divided by the target tokens
  of the whole step.
- Evaluation gathers loss and token sums of each row, so that rows that pad a distributed batch are not counted twice.
  Then a fixed set of rows, divided among the ranks, is summarised and scored once.
- See [`~mt5_ft.training.token_steps`] for steps with a fixed number of target tokens.
- The output layer computes the loss in chunks of tokens, without padding ([`~mt5_ft.models.loss_head`]);
  `linear_loss=False` computes it from the logits of all tokens.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler, SequentialSampler
from transformers import (
    DataCollatorForSeq2Seq,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Seq2SeqTrainer,
    TrainerCallback,
    TrainingArguments,
)

from ft_core.checkpoints.manifest import read_manifest
from ft_core.hub.card import CardFacts
from ft_core.io.files import write_text
from ft_core.runs.folder import PREDICTIONS
from ft_core.training.epoch_order import EpochOrder
from ft_core.training.guarded_steps import poison_if_not_finite
from ft_core.training.stock.inputs import upgrade_arguments

from ..data.records import Record
from ..hub.push import describe_mt5
from ..models.linear_cross_entropy import IGNORED, RowSums
from ..models.loading import keep_feed_forward_in_fp32, load_model, load_tokenizer, use_fused_gelu
from ..models.loss_head import use_loss_head
from ..models.weight_names import describe_misfit
from ..summaries.generation import GenerationSettings, generate_ids, summarize_texts
from ..summaries.metrics import score_texts
from .arguments import MT5Arguments
from .resuming import DECISIVE_SETTINGS, check_resumable, settle_intervals
from .token_steps import TokenSteps, token_lengths

logger = logging.getLogger(__name__)

ROW = "row"  # position of a record in its data set
DEFAULT_LENGTH = 256  # of tokenize_records
SHOWN_EXAMPLES = 3


class MT5Collator(DataCollatorForSeq2Seq):
    """Pads the model's inputs dynamically and drops columns that only the sampler reads."""

    def __repr__(self) -> str:
        multiple = f", to a multiple of {self.pad_to_multiple_of}" if self.pad_to_multiple_of else ""
        return f"MT5Collator: pads the sources and targets of a batch to the longest{multiple}"

    def __call__(self, features: list, return_tensors: str | None = None) -> dict[str, Tensor] | list:
        if isinstance(features[0], list):  # an optimizer step, as a list of micro-batches
            return [self(rows, return_tensors) for rows in features[0]]
        wanted = ("input_ids", "attention_mask", "labels")
        batch = super().__call__([{name: row[name] for name in wanted} for row in features], return_tensors)
        if ROW in features[0]:
            batch[ROW] = torch.tensor([row[ROW] for row in features])
        return batch


def token_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each target token, 0 where it is padding.

    Args:
        logits (`torch.Tensor` of shape `(batch_size, target_len, vocab_size)`): the model's output.
        labels (`torch.Tensor` of shape `(batch_size, target_len)`): targets, -100 where padded.

    Returns:
        `torch.Tensor` of shape `(batch_size, target_len)`, fp32.
    """
    return F.cross_entropy(logits.float().transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")


def sums_of_logits(logits: Tensor, labels: Tensor) -> RowSums:
    """The sums of a batch from the logits of all its tokens; arguments as for [`token_losses`]."""
    losses = token_losses(logits, labels).sum(dim=1)
    counted = labels != IGNORED
    correct = ((logits.detach().argmax(dim=-1) == labels) & counted).sum(dim=1)
    return RowSums(losses.sum(), losses, correct, counted.sum(dim=1))


class MT5Trainer(TokenSteps, Seq2SeqTrainer):
    """Fine-tunes mT5 on tokenised records.

    loss = sum over target tokens of cross-entropy / number of target tokens, over the whole optimizer step. Logged:
    loss, token_accuracy, target_tokens_per_second, weight_norm; in evaluation also the scores of generated summaries.

    Args:
        model: an encoder-decoder model.
        args ([`MT5Arguments`]): settings.
        tokenizer: its tokenizer.
        train_dataset, eval_dataset (`Dataset`): from [`tokenize_records`].
        eval_records (`Sequence[Record]`, *optional*): the validation records, in the order of `eval_dataset`; needed
            for generated summaries.
        prefix (`str`): put before each source, as in training.
        callbacks (*optional*): further callbacks; the list is not changed.
        data_collator (*optional*): instead of [`MT5Collator`].
        processing_class (*optional*): another name of `tokenizer`.
        kwargs: further arguments of [`~transformers.Trainer`]: `compute_metrics`, `preprocess_logits_for_metrics`,
            `optimizers`, `optimizer_cls_and_kwargs`, `model_init`.
    """

    program = "mt5-ft"
    progress_terms = ("loss", "target_tokens_per_second")
    evaluation_terms = ("loss", "token_accuracy", "rougeL", "defective_share", "summarised_rows")
    decisive_settings = DECISIVE_SETTINGS
    stage = "mt5"

    arguments_class = MT5Arguments
    _keeps_order = False

    def __init__(
        self,
        model: PreTrainedModel | str | None = None,
        args: TrainingArguments | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | None = None,
        eval_records: Sequence[Record] | None = None,
        prefix: str = "",
        callbacks: list[TrainerCallback] | None = None,
        data_collator: Callable[[list], dict[str, Tensor]] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        **kwargs,
    ):
        self._check_inputs(kwargs)
        args = upgrade_arguments(args, MT5Arguments, eval_dataset is not None)
        tokenizer = tokenizer or processing_class
        if tokenizer is None and isinstance(model, str | Path):
            tokenizer = load_tokenizer(str(model))
        if tokenizer is None:
            raise ValueError("tokenizer is missing; pass the model's tokenizer, e.g. load_tokenizer of its folder")
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator or MT5Collator(tokenizer, pad_to_multiple_of=None if args.use_cpu else 8),
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=tokenizer,
            callbacks=callbacks,
            **kwargs,
        )
        if data_collator is None:
            self.data_collator.model = self.model  # shifts the labels to the decoder's inputs
        self.add_callback(EpochOrder(self))
        self.eval_records = eval_records or []
        self.prefix = prefix
        self.generate_all_rows = False
        self.further_files: dict[str, str] = {}  # content of the further files of each checkpoint
        # compute_loss divides by the tokens of the whole step
        self.loss_is_scaled_for_ga = True
        self.evaluates_each_epoch = train_dataset is not None and settle_intervals(args, self.steps_per_epoch())

    def load_model(self, name: str, args: TrainingArguments) -> PreTrainedModel:
        """The model of a folder or of the Hub."""
        return load_model(name)

    def prepare_model(self, model: PreTrainedModel, args: TrainingArguments) -> nn.Module:
        """Keeps layers in fp32 where mT5 overflows in fp16; fuses the activation and the loss."""
        if args.fp16:
            keep_feed_forward_in_fp32(model)
        use_fused_gelu(model)
        self.loss_head = use_loss_head(model) if args.linear_loss else None
        if args.linear_loss and self.loss_head is None:
            logger.warning("linear_loss is ignored: it needs an mT5 model")
        return model

    def check_unchanged(self, run: Path, checkpoint: Path | None = None) -> None:
        """Calls the parent; a halved batch with doubled accumulation counts as unchanged."""
        manifest = None if checkpoint is None else read_manifest(checkpoint) | {"now": self._data_digest()}
        self.new_schedule = check_resumable(run, self.recorder.facts, self.args, manifest)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Calls the parent; also writes `further_files`."""
        super().save_model(output_dir, _internal_call)
        if self.args.should_save:
            for name, text in self.further_files.items():
                write_text(Path(output_dir or self.args.output_dir) / name, text)

    def data_digest(self) -> str:
        """SHA-256 of the tokens of sources and targets, in order."""
        digest = hashlib.sha256()
        for rows in self.train_dataset.select_columns(["input_ids", "labels"]).iter(batch_size=1000):
            digest.update(json.dumps([rows["input_ids"], rows["labels"]]).encode())
        return digest.hexdigest()

    def sample_names(self, batch: dict[str, Tensor]) -> list[str]:
        """The records' identities, or their positions where the data set has none."""
        if "record" not in self.train_dataset.column_names:
            return [f"row {int(row)}" for row in batch[ROW]]
        return [self.train_dataset[int(row)]["record"] for row in batch[ROW]]

    def sample_terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean loss of a target token, and target tokens, of each row."""
        sums, _ = self._token_sums(self.accelerator.unwrap_model(self.model), batch)
        return {"loss": sums.losses / sums.tokens, "target_tokens": sums.tokens}

    def generation_length(self) -> int:
        """Maximum tokens of a summary."""
        return self.args.generation_max_length or DEFAULT_LENGTH

    def longest_source(self) -> int:
        """Tokens of the longest validation source."""
        return int(token_lengths(self.eval_dataset, "input_ids").max())

    def _issue_warnings_after_load(self, load_result: object) -> None:
        """Refuses a checkpoint whose tensors do not fit; tied embeddings are saved once, as `shared`.

        Raises:
            ValueError: tensors are missing or unexpected; the parent only warns.
        """
        missing = [key for key in load_result.missing_keys if not key.endswith(".embed_tokens.weight")]
        if misfit := describe_misfit(missing, load_result.unexpected_keys):
            raise ValueError(f"a checkpoint of {self.args.output_dir} does not fit the model: {misfit}; remove it")

    def get_test_dataloader(self, test_dataset: Dataset) -> DataLoader:
        """Calls the parent; predictions are in the order of the records, which evaluations group by length."""
        self._keeps_order = True
        try:
            return super().get_test_dataloader(test_dataset)
        finally:
            self._keeps_order = False

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler | None:
        return SequentialSampler(eval_dataset) if self._keeps_order else super()._get_eval_sampler(eval_dataset)

    def _token_sums(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[RowSums, nn.Module]:
        """Loss, correct tokens and tokens of each row, and the model's output."""
        labels = inputs["labels"]
        given = {name: value for name, value in inputs.items() if name not in ("labels", ROW)}
        if self.loss_head is None:
            outputs = model(**given)
            return sums_of_logits(outputs.logits, labels), outputs
        with self.loss_head.counting(labels):
            outputs = model(**given)
        return outputs.logits, outputs

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, nn.Module]:
        """Summed cross-entropy over the target tokens of the whole optimizer step, on all ranks."""
        sums, outputs = self._token_sums(model, inputs)
        tokens = sums.tokens.sum()
        self.meter.add_sums({"loss": sums.total, "correct": sums.correct.sum(), "tokens": tokens})
        if num_items_in_batch is None:
            loss = sums.total / tokens
        else:
            # DDP averages gradients over ranks, and num_items_in_batch counts the tokens of all of them
            loss = sums.total * self.accelerator.num_processes / num_items_in_batch
        loss = poison_if_not_finite(loss)
        return (loss, outputs) if return_outputs else loss

    @torch.no_grad()
    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
        **kwargs,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Adds the sums of a batch, gathered over ranks, to the evaluation meter; each row counts once.

        Predictions are the token ids of generated summaries, as of a Seq2SeqTrainer with `predict_with_generate`.
        """
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            sums, _ = self._token_sums(model, inputs)
        losses, correct, tokens = self.accelerator.gather_for_metrics((sums.losses, sums.correct, sums.tokens))
        self.eval_meter.add_sums({"loss": losses.sum(), "correct": correct.sum(), "tokens": tokens.sum()})
        loss = losses.sum() / tokens.sum()
        return (loss, None, None) if prediction_loss_only else (loss, self._generate_ids(inputs), inputs["labels"])

    def _generate_ids(self, inputs: dict[str, Tensor]) -> Tensor:
        """Token ids of the summaries of a batch, shape `(batch_size, summary_len)`, -100 where padded."""
        settings = GenerationSettings(self.generation_length(), num_beams=self.args.generation_num_beams or 1)
        model = self.accelerator.unwrap_model(self.model)
        with self.accelerator.autocast():
            ids = generate_ids(model, self.processing_class, inputs["input_ids"], inputs["attention_mask"], settings)
        return ids.masked_fill(ids == self.processing_class.pad_token_id, IGNORED)

    def logged_terms(self, sums: dict[str, Tensor], weight: float) -> dict[str, float]:
        """Mean loss and accuracy per target token."""
        self._tokens_logged = float(sums["tokens"])
        return {
            "loss": float(sums["loss"] / sums["tokens"]),
            "token_accuracy": float(sums["correct"] / sums["tokens"]),
        }

    def throughput_terms(self, weight: float, seconds: float) -> dict[str, float]:
        """Target tokens per second, without padding."""
        return {"target_tokens_per_second": self._tokens_logged / seconds}

    def evaluation_loop(self, dataloader, description: str, *args, metric_key_prefix: str = "eval", **kwargs):  # noqa: ANN001, ANN201
        """Calls the parent, then generates and scores summaries of a fixed set of rows."""
        output = super().evaluation_loop(dataloader, description, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        # a prediction is of other records, and returns their summaries
        rows = [] if description == "Prediction" else self._rows_to_generate()
        if rows:
            with self._averaged():
                scores = self._generate_and_score(rows)
            output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in scores.items()})
        return output

    def _rows_to_generate(self) -> list[int]:
        """Evenly spaced validation rows, the same at each evaluation."""
        total = len(self.eval_records)
        if self.is_in_train and not self.state.global_step:
            return []  # before the first step only the loss is evaluated
        count = total if self.generate_all_rows else min(self.args.eval_generate_rows, total)
        return [position * total // count for position in range(count)] if count else []

    def _generate_and_score(self, rows: list[int]) -> dict[str, float]:
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        mine = rows[rank::world]
        settings = GenerationSettings(
            max_length=self.generation_length(),
            num_beams=self.args.generation_num_beams or 1,
            batch_size=self.args.per_device_eval_batch_size,
            max_source_length=self.longest_source(),
        )
        model = self.accelerator.unwrap_model(self.model)
        texts = [self.prefix + self.eval_records[row].source for row in mine]
        with self.accelerator.autocast():
            raw = summarize_texts(model, self.processing_class, texts, settings)
        found = dict(gather_object(list(zip(mine, raw, strict=True))))
        payload = [None]
        if self.accelerator.is_main_process:
            predictions = [found[row] for row in rows]
            references = [self.eval_records[row].target for row in rows]
            sources = [self.eval_records[row].source for row in rows]
            payload = [score_texts(predictions, references, self.args.chinese, sources)]
            self._save_predictions(rows, predictions)
        return {"summarised_rows": len(rows), **broadcast_object_list(payload)[0]}

    def _save_predictions(self, rows: list[int], predictions: list[str]) -> None:
        """`predictions-STEP.jsonl`: source, reference and prediction of each generated row."""
        folder = Path(self.args.output_dir) / PREDICTIONS
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            {
                "id": self.eval_records[row].id,
                "source": self.eval_records[row].source,
                "reference": self.eval_records[row].target,
                "prediction": text,
            }
            for row, text in zip(rows, predictions, strict=True)
        ]
        name = f"predictions-{self.state.global_step}{'-all' if self.generate_all_rows else ''}.jsonl"
        write_text(folder / name, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        self.examples = lines[:SHOWN_EXAMPLES]

    def describe_pushed(self, folder: Path, run: Path) -> CardFacts:
        """The card of a checkpoint of the run."""
        return describe_mt5(folder, run)
