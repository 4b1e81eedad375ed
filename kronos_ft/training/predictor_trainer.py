"""Trainer of the Kronos predictor: next-token cross-entropy of the coarse and of the fine token.

How to read a training curve: `loss` is half the negative log-likelihood of a bar's two tokens, in nats. Its minimum is
the entropy of the market, not zero, and a lower loss need not be a better forecast (`kronos-ft evaluate` measures
that). With `s1_conditioning="sampled"` the training ce_s2 is that of the published scripts. In evaluation ce_s2 is
always causal and conditioned on the true coarse token, so that runs of both kinds can be compared.
"""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_utils import EvalLoopOutput

from ft_core.training.curves import Panel
from ft_core.training.guarded_steps import poison_if_not_finite
from ft_core.training.stock.inputs import upgrade_arguments

from ..models.adapters import add_adapters, save_adapters
from ..models.configuration_kronos import check_bits
from ..models.descent import published_ancestor
from ..models.identity import tokenizer_facts
from ..models.modeling_kronos import Kronos, KronosOutput, KronosTokenizer
from ..models.pairing import write_pairing
from ..windows.dataset import WindowDataset
from ..windows.tokens import TokenWindowDataset, freeze, tokenise
from .losses import PREDICTOR_TERMS, predictor_objective, predictor_terms, token_cross_entropy
from .predictor_arguments import PUBLISHED_EVALUATION, KronosArguments
from .window_trainer import WindowTrainer

NEEDS_TOKENIZER = "a WindowDataset needs a tokenizer; pass tokenizer, or a TokenWindowDataset"


class KronosTrainer(WindowTrainer):
    """Fine-tunes a [`Kronos`] predictor on tokens of windows.

    loss = (ce_s1 + ce_s2) / 2, see `kronos_ft.training.losses`: tokens of bars 1 to T given those of bars 0
    to T-1, where a window has T + 1 bars.

    Logged at each logging step (means over all windows since the last one, exact over accumulation and ranks) and, with
    the prefix `eval_`, at each evaluation (over the whole split, causal, given the true coarse token): loss, ce_s1,
    ce_s2, perplexity_s1, perplexity_s2 (the exponential of the mean cross-entropy), accuracy_s1, accuracy_s2.

    Args:
        model ([`Kronos`]): the predictor; with `args.lora`, adapters are added to it.
        args ([`KronosArguments`]): settings.
        train_dataset, eval_dataset ([`TokenWindowDataset`] or [`WindowDataset`]): tokens, or windows that are
            tokenised in each step. Augmented windows must be: the input is the augmented window, the target tokens
            are those of the clean one.
        tokenizer ([`KronosTokenizer`], *optional*): needed for windows; it is frozen, in fp32.
        callbacks (*optional*): further callbacks; the list is not changed.
        kwargs: further arguments of the Trainer, see [`~kronos_ft.training.window_trainer.WindowTrainer`].

    Raises:
        ValueError: windows without a tokenizer, or a tokenizer whose codes do not fit the model.

    Example:

    ```python
    tokens = TokenWindowDataset(WindowDataset(series, "train"), tokenizer)
    trainer = KronosTrainer(model, KronosArguments(output_dir="runs/btc"), tokens, validation_tokens)
    trainer.train()
    ```
    """

    progress_terms = ("loss", "ce_s1", "ce_s2", "bars_per_second")
    evaluation_terms = ("loss", "ce_s1", "ce_s2", "accuracy_s1", "accuracy_s2")
    decisive_settings = (
        *WindowTrainer.decisive_settings,
        *("s1_conditioning", "lora", "lora_r", "lora_alpha", "lora_dropout"),
    )
    stage = "predictor"
    title = "Kronos predictor"
    summary_terms = ("loss", "ce_s1", "ce_s2", "perplexity_s1", "perplexity_s2", "accuracy_s1", "accuracy_s2")
    panels = (
        Panel("loss: half the negative log-likelihood of a bar, nats", ("loss",)),
        Panel("cross-entropy, nats: coarse token, fine token", ("ce_s1", "ce_s2")),
        Panel("perplexity: effective number of codes", ("perplexity_s1", "perplexity_s2"), log_scale=True),
        Panel("accuracy of the most likely token", ("accuracy_s1", "accuracy_s2")),
        Panel("learning rate", ("learning_rate",)),
        Panel("gradient norm", ("grad_norm",), log_scale=True),
    )

    arguments_class = KronosArguments
    model_class = Kronos

    def __init__(
        self,
        model: Kronos | str | None = None,
        args: TrainingArguments | None = None,
        train_dataset: TokenWindowDataset | WindowDataset | None = None,
        eval_dataset: TokenWindowDataset | WindowDataset | None = None,
        tokenizer: KronosTokenizer | None = None,
        callbacks: list[TrainerCallback] | None = None,
        **kwargs,
    ):
        args = upgrade_arguments(args, KronosArguments, eval_dataset is not None)
        if tokenizer is None and (isinstance(train_dataset, WindowDataset) or isinstance(eval_dataset, WindowDataset)):
            raise ValueError(NEEDS_TOKENIZER)
        if args.lora and kwargs.get("optimizers", (None, None))[0] is not None:
            raise ValueError("optimizers cannot hold the adapters of lora=True; pass optimizer_cls_and_kwargs")
        self._given_tokenizer = tokenizer
        self._tokenizer_facts = None if tokenizer is None else tokenizer_facts(tokenizer)
        if args.eval_like_published:
            self.summary_terms = (*self.summary_terms, *PUBLISHED_EVALUATION)
        super().__init__(model, args, train_dataset, eval_dataset, callbacks, **kwargs)
        self.recorder.facts["descends_from"] = self._published
        self.window_tokenizer = freeze(tokenizer).to(args.device) if tokenizer is not None else None

    def prepare_model(self, model: Kronos, args: TrainingArguments) -> nn.Module:
        """Checks that the model fits the tokenizer, and adds adapters with `lora`."""
        if self._given_tokenizer is not None:
            check_bits(model.config, self._given_tokenizer.config)
        self._published = published_ancestor(
            {"repository": model.hub_origin and model.hub_origin.repository, "model": model.name_or_path}
        )
        if args.lora:
            set_seed(args.seed)  # the Trainer seeds too, but only after the random weights of the adapters
            model = add_adapters(model, args.lora_r, args.lora_alpha, args.lora_dropout)
        return super().prepare_model(model, args)

    # Inputs

    def _prepare_inputs(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Moves tokens to the device and tokenises windows; `target_s1` and `target_s2` are the tokens to predict."""
        clean = inputs.get("candles") is inputs.get("target")
        inputs = super()._prepare_inputs(inputs)
        if "candles" in inputs:
            if self.window_tokenizer is None:
                raise ValueError(NEEDS_TOKENIZER)
            candles = inputs["candles"]
            pair = candles if clean else torch.cat((candles, inputs["target"]))
            s1, s2 = (half.split(len(candles)) for half in tokenise(self.window_tokenizer, pair))
            inputs = {"s1": s1[0], "s2": s2[0], "target_s1": s1[-1], "target_s2": s2[-1], "stamps": inputs["stamps"]}
        return inputs

    @staticmethod
    def _targets(inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return tuple(inputs.get(f"target_{name}", inputs[name])[:, 1:] for name in ("s1", "s2"))

    @staticmethod
    def _call(model: nn.Module, inputs: dict[str, Tensor], **options) -> KronosOutput:
        return model(
            s1_ids=inputs["s1"][:, :-1], s2_ids=inputs["s2"][:, :-1], stamp=inputs["stamps"][:, :-1], **options
        )

    # Training

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, KronosOutput]:
        """The loss of one micro-batch; its terms are added to the meter on the device."""
        s1, s2 = self._targets(inputs)
        output = self._call(model, inputs, s1_targets=s1 if self.args.s1_conditioning == "true" else None)
        objective = predictor_objective(predictor_terms(output.s1_logits, output.s2_logits, s1, s2).mean(dim=0))
        self.meter.add_means(objective, weight=len(s1))
        loss = poison_if_not_finite(objective["loss"])
        return (loss, output) if return_outputs else loss

    def sample_terms(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss and cross-entropies of each window, conditioned on the true coarse token."""
        s1, s2 = self._targets(batch)
        output = self._call(self.accelerator.unwrap_model(self.model), batch, s1_targets=s1)
        per_window = predictor_terms(output.s1_logits, output.s2_logits, s1, s2)
        return predictor_objective(per_window.T)

    # Evaluation

    def evaluation_loop(self, *args, **kwargs) -> EvalLoopOutput:
        """Calls the parent; with `eval_like_published` it uses its own random state, so training is not affected."""
        if not self.args.eval_like_published:
            return super().evaluation_loop(*args, **kwargs)
        devices = [self.args.device.index or 0] if self.args.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.args.seed + self.args.process_index)
            return super().evaluation_loop(*args, **kwargs)

    @torch.no_grad()
    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, tuple | None, tuple | None]:
        """Adds the causal terms of a batch, gathered over ranks, to the evaluation meter; each window counts once.

        Predictions are the logits of the coarse and of the fine token, labels both tokens.
        """
        inputs = self._prepare_inputs(inputs)
        s1, s2 = self._targets(inputs)
        with self.compute_loss_context_manager():
            output = self._call(model, inputs, s1_targets=s1)
            columns = [predictor_terms(output.s1_logits, output.s2_logits, s1, s2)]
            if self.args.eval_like_published:
                logits = self._call(model, inputs, causal=False).s2_logits
                columns.append(token_cross_entropy(logits, s2).mean(dim=1, keepdim=True))
        per_window = self.accelerator.gather_for_metrics(torch.cat(columns, dim=1))
        means = per_window.mean(dim=0)
        objective = predictor_objective(means[: len(PREDICTOR_TERMS)])
        if self.args.eval_like_published:
            published = means[len(PREDICTOR_TERMS)]
            objective |= {"published_ce_s2": published, "published_loss": (objective["ce_s1"] + published) / 2}
        self.eval_meter.add_means(objective, weight=len(per_window))
        if prediction_loss_only:
            return objective["loss"], None, None
        return objective["loss"], (output.s1_logits, output.s2_logits), (s1, s2)

    def logged_terms(self, sums: dict[str, Tensor], weight: float) -> dict[str, float]:
        """Means of the terms, and perplexities from the means, from the reduced sums of either meter."""
        means = {name: total / weight for name, total in sums.items()}
        perplexities = {f"perplexity_{name}": means[f"ce_{name}"].exp() for name in ("s1", "s2")}
        return {name: float(value) for name, value in (means | perplexities).items()}

    # Saving

    def write_origin(self, folder: Path) -> None:
        """Writes name and hash of the tokenizer, and the window."""
        windows = self.train_dataset if self.train_dataset is not None else self.eval_dataset
        shape = getattr(windows, "shape", None)
        size = (shape.lookback, shape.horizon) if shape is not None else (None, None)
        facts = self.recorder.facts
        given = getattr(windows, "tokenizer_facts", None) or self._tokenizer_facts or {}
        write_pairing(folder, given | facts.get("model", {}), *size, descends_from=facts.get("descends_from"))

    def write_model(self, folder: Path, state_dict: dict[str, Tensor]) -> None:
        """Writes the model (or its adapters, alone or merged), the hash of its tokenizer, and its window."""
        self.write_origin(folder)
        model = self.accelerator.unwrap_model(self.model_wrapped)
        if not self.args.lora:
            super().write_model(folder, state_dict)
        elif self.args.lora_merge:
            copy.deepcopy(model).merge_and_unload().save_pretrained(folder)
        else:
            save_adapters(model, folder, state_dict)
