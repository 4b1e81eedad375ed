"""Low-rank adapters (LoRA, arXiv 2106.09685) on a predictor: put on, saved alone, loaded and merged.

Notable:
- On attention and feed-forward layers, the dependency-aware layer included; never on embeddings, heads or a tokenizer.
- A folder of adapters names the model that they belong to. [`Kronos.from_pretrained`] loads that model, checks the
  hash of its weights and returns the two merged, a plain [`Kronos`].
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from ft_core.io.files import write_json
from ft_core.io.pickles import is_pickle, weights_remedy

from .identity import ADAPTER_CONFIG, weights_hash

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

ADAPTER_WEIGHTS = "adapter_model.safetensors"
BASE_FILE = "base_model.json"
TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "w1", "w2", "w3")


def add_adapters(model: "PreTrainedModel", r: int, alpha: int, dropout: float) -> "PeftModel":
    """The model with trainable adapters of rank `r`; everything else is frozen."""
    from peft import LoraConfig, get_peft_model

    base = Path(model.name_or_path)
    base_name = str(base.resolve()) if base.is_dir() else model.name_or_path
    digest = weights_hash(model)
    adapted = get_peft_model(
        model, LoraConfig(r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(TARGETS))
    )
    adapted.peft_config["default"].base_model_name_or_path = base_name
    adapted.base_sha256 = digest
    adapted.base_revision = model.hub_origin.commit if model.hub_origin else None
    return adapted


def save_adapters(model: "PeftModel", folder: Path, state_dict: dict | None = None) -> None:
    """Writes adapters alone: their configuration and weights, the model's `config.json`, and what they belong to."""
    model.save_pretrained(str(folder), state_dict=state_dict)
    (folder / "README.md").unlink(missing_ok=True)  # a card of empty headings
    model.get_base_model().config.save_pretrained(folder)
    base = model.peft_config["default"].base_model_name_or_path
    write_json(folder / BASE_FILE, {"name": base, "sha256": model.base_sha256, "revision": model.base_revision})


def load_merged(cls: type, folder: Path, **kwargs) -> "PreTrainedModel":
    """The model that a folder's adapters belong to, with them merged in.

    Raises:
        ValueError: the adapters are damaged or pickled, or their model is gone or not the one they were trained on.
    """
    from peft import PeftModel

    pickles = sorted(path.name for path in folder.iterdir() if is_pickle(path))
    if not (folder / ADAPTER_WEIGHTS).is_file() and pickles:
        raise ValueError(
            f"{folder} holds only pickled adapters ({pickles[0]}), which are never loaded; "
            f"{weights_remedy(pickles[0], ADAPTER_WEIGHTS)}"
        )
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ValueError(f"{folder} has an {ADAPTER_CONFIG} but no {ADAPTER_WEIGHTS}; pass a folder that holds both")
    try:
        base = json.loads((folder / BASE_FILE).read_text(encoding="utf-8"))
        name, digest, revision = str(base["name"]), base["sha256"], base.get("revision")
        with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as file:
            found = set(file.keys())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"the adapters in {folder} are damaged ({error}); train them again") from error
    if Path(name).resolve() == folder.resolve():
        raise ValueError(f"{folder / BASE_FILE} names the adapters' own folder as their model; train them again")
    remedy = "put the model back there, or train with --lora_merge, which saves a model that needs no other"
    try:
        model = cls.from_pretrained(name, revision=revision, **kwargs)
    except ValueError as error:
        raise ValueError(f"{folder} holds adapters to {name}, which cannot be loaded ({error}); {remedy}") from error
    if weights_hash(model) != digest:
        raise ValueError(f"{folder} holds adapters to {name}, whose weights are others now; {remedy}")
    try:
        adapted = PeftModel.from_pretrained(model, str(folder))
    except (RuntimeError, ValueError, KeyError, TypeError) as error:  # tensors of other shapes, impossible settings
        raise ValueError(f"the adapters in {folder} do not fit {name}; {remedy}") from error
    expected = {name.replace(".default.", ".") for name in adapted.state_dict() if ".lora_" in name}
    if found != expected:
        raise ValueError(f"the adapters in {folder} are damaged ({len(found ^ expected)} tensors differ); {remedy}")
    return adapted.merge_and_unload().eval()
