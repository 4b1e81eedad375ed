"""Base of the Kronos trainers: sample order by epoch, full effective batches, one-cycle schedule."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import Sampler
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from transformers.trainer_utils import TrainOutput

from ft_core.checkpoints.manifest import read_manifest
from ft_core.checkpoints.retention import KeepBestCheckpoints
from ft_core.hub.card import CardFacts
from ft_core.runs.record_schema import find_record
from ft_core.training.curves import Panel
from ft_core.training.epoch_order import EpochOrder
from ft_core.training.one_cycle import OneCycle, build_one_cycle
from ft_core.training.recorded_trainer import RecordedTrainer
from ft_core.training.stock.inputs import StockInputs, upgrade_arguments

from ..data.candles import CandleSeries
from ..hub.push import describe_kronos
from ..models.fast_layers import forget_compiled
from ..windows.dataset import WindowDataset, keep_batch
from ..windows.order import EpochSampler
from .compiling import CompileBlocks
from .numerics import adopt_recorded, check_same_numerics, choose_compile, set_numerics
from .report_facts import observed_windows


class WindowTrainer(RecordedTrainer):
    """A trainer on [`WindowDataset`]s. A subclass defines the objective, and the content of the run's table and
    picture: `title`, `summary_terms`, `panels`.

    Args:
        model ([`~transformers.PreTrainedModel`] or `str`): a Kronos model, or the folder or name of one.
        args ([`~transformers.TrainingArguments`]): settings of the stage; of plain ones, what is set is kept.
        train_dataset, eval_dataset ([`WindowDataset`]): windows.
        callbacks (*optional*): further callbacks; the list is not changed.
        kwargs: further arguments of [`~transformers.Trainer`]: `compute_metrics`, `preprocess_logits_for_metrics`,
            `optimizers`, `optimizer_cls_and_kwargs`, `model_init`.

    Raises:
        ValueError: the number of processes or the precision differs from the requested one.
    """

    title: str
    summary_terms: tuple[str, ...]
    panels: tuple[Panel, ...]
    decisive_settings = (
        *("one_cycle", "pct_start", "div_factor", "final_div_factor", "cycle_momentum", "decay_all_parameters"),
        *("symbol_weighting", "numerics"),
    )
    program = "kronos-ft"
    compiled = False
    compiled_before: bool | None = None  # by the run to resume

    model_class: ClassVar[type[PreTrainedModel]]
    unused_inputs: ClassVar[Mapping[str, str]] = {
        **StockInputs.unused_inputs,
        "data_collator": "the data sets return whole batches; leave it out",
        "processing_class": "Kronos models have none; pass the tokenizer to KronosTrainer as tokenizer",
    }

    def __init__(
        self,
        model: PreTrainedModel | str | None = None,
        args: TrainingArguments | None = None,
        train_dataset: WindowDataset | None = None,
        eval_dataset: WindowDataset | None = None,
        callbacks: list[TrainerCallback] | None = None,
        **kwargs,
    ):
        self._check_inputs(kwargs)
        for name, given in (("train_dataset", train_dataset), ("eval_dataset", eval_dataset)):
            if isinstance(given, list | tuple | CandleSeries | pd.DataFrame | str | Path):
                raise ValueError(f"{name} is of type {type(given).__name__}; make a WindowDataset of the candles first")
        args = upgrade_arguments(args, self.arguments_class, eval_dataset is not None)
        self.sampler: EpochSampler | None = None
        own: list[TrainerCallback] = [EpochOrder(self)]
        if args.save_strategy != "no" and args.eval_strategy != "no":
            own.append(KeepBestCheckpoints(args.keep_best))
        super().__init__(
            model=model,
            args=args,
            data_collator=keep_batch,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            callbacks=[*own, *(callbacks or [])],
            **kwargs,
        )
        self.callback_handler.callbacks.insert(0, CompileBlocks(self))
        check_same_numerics(args)
        # compute_loss returns the mean of its batch: the Trainer divides by the accumulation steps
        self.loss_is_scaled_for_ga = False

    def compile_key(self) -> str:
        """Identifies the compiled programs: model, shapes, precision and versions."""
        args, config = self.args, self.accelerator.unwrap_model(self.model).config
        names = ("d_model", "n_heads", "ff_dim", "ffn_dropout_p", "attn_dropout_p", "resid_dropout_p")
        facts = (
            *(self.stage, [getattr(config, name) for name in names], type(self.model).__name__),
            *(args.per_device_train_batch_size, self.train_dataset.shape.length),
            *(args.numerics, self.accelerator.mixed_precision, args.device.type),
            *(torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), torch.__version__),
        )
        return " ".join(map(str, facts))

    def train(self, *args, **kwargs) -> TrainOutput:
        """Calls the parent; afterwards the model is not compiled and its precision is restored."""
        if self.model is not None:  # hyperparameter_search sets the previous trial's model to None
            set_numerics(self.model, self.args.numerics)
        try:
            return super().train(*args, **kwargs)
        finally:
            forget_compiled(self.model)
            set_numerics(self.model, "exact")

    def load_model(self, name: str, args: TrainingArguments) -> PreTrainedModel:
        """The model of a folder, of a run, or of the Hub."""
        return self.model_class.from_pretrained(name)

    def prepare_model(self, model: nn.Module, args: TrainingArguments) -> nn.Module:
        """Sets the numerics of the model."""
        set_numerics(model, args.numerics)
        return model

    def checkpoint_facts(self) -> dict[str, object]:
        """The parent's facts, and whether blocks were compiled."""
        return super().checkpoint_facts() | {"compiled": self.compiled}

    def check_unchanged(self, run: Path, checkpoint: Path | None = None) -> None:
        """Calls the parent; a resumed run keeps its numerics and its compiled blocks."""
        manifest = {} if checkpoint is None else read_manifest(checkpoint)
        if "settings" in manifest:
            adopt_recorded(self.args, manifest["settings"])
        elif record := find_record(run):
            adopt_recorded(self.args, record["arguments"])
        set_numerics(self.model, self.args.numerics)
        super().check_unchanged(run, checkpoint)
        self.compiled_before = before = manifest.get("compiled")
        asked = choose_compile(self.args.compile_blocks, self.args.speed)
        if before is None or asked == "auto" or (asked == "yes") == before or self.args.numerics == "exact":
            return
        if not self.args.resume_force:
            raise ValueError(
                f"compile_blocks={asked} but {run} was started {'with' if before else 'without'} compiled blocks; "
                "results would differ in the last bits; leave compile_blocks at auto or pass --resume_force"
            )

    def observed_facts(self) -> dict[str, object]:
        """The parent's facts, and those of the windows and the model's configuration."""
        config = self.accelerator.unwrap_model(self.model).config.to_dict()
        return super().observed_facts() | observed_windows(self.train_dataset, self.eval_dataset) | {"config": config}

    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over the training windows; each takes a full effective batch."""
        return len(self.train_dataset) // self.effective_batch()

    def throughput_terms(self, weight: float, seconds: float) -> dict[str, float]:
        """Bars of training windows per second."""
        return {"bars_per_second": weight * self.train_dataset.shape.length / seconds}

    def data_digest(self) -> str:
        """SHA-256 of the training windows."""
        return self.train_dataset.fingerprint()

    def sample_names(self, batch: dict[str, Tensor]) -> list[str]:
        """Symbol and time of the first bar of each window."""
        return [self.train_dataset.name_of(int(window)) for window in batch["window"]]

    def _get_train_sampler(self, train_dataset: WindowDataset | None = None) -> Sampler:
        dataset = self.train_dataset if train_dataset is None else train_dataset
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        self.sampler = EpochSampler(
            len(dataset), seed, self.effective_batch(), dataset.windows_per_symbol, self.args.symbol_weighting
        )
        return self.sampler

    def write_model(self, folder: Path, state_dict: dict[str, Tensor]) -> None:
        """Writes the model, whose gathered weights are `state_dict`, into a folder; on the main process only."""
        self.accelerator.unwrap_model(self.model_wrapped).save_pretrained(folder, state_dict=state_dict)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the parent; a folder that the caller names also records the tokenizer and the window."""
        super().save_model(output_dir, _internal_call)
        if not _internal_call and self.args.should_save:
            self.write_origin(Path(output_dir or self.args.output_dir))

    def write_origin(self, folder: Path) -> None:
        """Writes what a folder of weights must record besides them: nothing for a tokenizer."""

    def describe_pushed(self, folder: Path, run: Path) -> CardFacts:
        """The card of a checkpoint of the run."""
        return describe_kronos(folder, run)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """A one-cycle schedule, unless `one_cycle` is off."""
        if not self.args.one_cycle:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            own = (optimizer or self.optimizer).param_groups[0]["lr"]
            settings = OneCycle(
                own if self.has_own_optimizer else self.args.learning_rate,
                self.args.pct_start,
                self.args.div_factor,
                self.args.final_div_factor,
                self.args.cycle_momentum,
            )
            self.lr_scheduler = build_one_cycle(optimizer or self.optimizer, settings, num_training_steps)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """All parameters, as published, or without biases and norms."""
        if self.args.decay_all_parameters:
            return [name for name, _ in model.named_parameters()]
        return [name for name, parameter in model.named_parameters() if parameter.ndim > 1]
