"""Low-rank adapters (LoRA, arXiv 2106.09685) for a predictor: adding, saving, loading, merging.

Notable:
- Adapters are added to attention and feed-forward layers, including the dependency-aware layer, but not to embeddings,
  heads or a tokenizer.
- A folder of adapters names its base model. [`Kronos.from_pretrained`] loads the base model, checks the hash of its
  weights, merges the adapters and returns a plain [`Kronos`].
"""

from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

from safetensors import SafetensorError, safe_open

from ft_core.hub.resolve import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from ft_core.io.files import write_json
from ft_core.io.formats import read_json
from ft_core.io.pickles import is_pickle, weights_remedy

from .identity import weights_hash

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


BASE_FILE = "base_model.json"


class BaseModel(TypedDict):
    """The content of `base_model.json`."""

    name: str
    sha256: str
    revision: NotRequired[str | None]


TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "w1", "w2", "w3")


def add_adapters(model: "PreTrainedModel", r: int, alpha: int, dropout: float) -> "PeftModel":
    """Adds trainable adapters of rank `r` to a model and freezes all other weights."""
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


def inject_adapters(model: "PreTrainedModel", r: int, alpha: int, dropout: float) -> None:
    """Adds adapters of rank `r` inside a model, whose state dict then contains them."""
    from peft import LoraConfig, inject_adapter_in_model

    settings = LoraConfig(r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(TARGETS))
    inject_adapter_in_model(settings, model)


def save_adapters(model: "PeftModel", folder: Path, state_dict: dict | None = None) -> None:
    """Writes adapter configuration and weights, the model's `config.json`, and the name and hash of the base model."""
    model.save_pretrained(str(folder), state_dict=state_dict)
    (folder / "README.md").unlink(missing_ok=True)  # peft writes a card with empty headings
    model.get_base_model().config.save_pretrained(folder)
    base = model.peft_config["default"].base_model_name_or_path
    write_json(folder / BASE_FILE, {"name": base, "sha256": model.base_sha256, "revision": model.base_revision})


def read_base(folder: Path) -> BaseModel:
    """The base model of a folder of adapters.

    Raises:
        ValueError: the file is missing or damaged.
    """
    return read_json(folder / BASE_FILE, "train the adapters again", BaseModel)


def load_merged(cls: type, folder: Path, **kwargs) -> "PreTrainedModel":
    """Loads the base model of a folder's adapters and merges the adapters into it.

    Raises:
        ValueError: the adapters are damaged or pickled, or their base model is missing or has changed.
    """
    from peft import PeftModel

    pickles = sorted(path.name for path in folder.iterdir() if is_pickle(path))
    if not (folder / ADAPTER_WEIGHTS).is_file() and pickles:
        raise ValueError(
            f"{folder} contains only pickled adapters ({pickles[0]}), which are never loaded; "
            f"{weights_remedy(pickles[0], ADAPTER_WEIGHTS)}"
        )
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ValueError(f"{folder} has {ADAPTER_CONFIG} but no {ADAPTER_WEIGHTS}; pass a folder with both files")
    try:
        base = read_base(folder)
        name, digest, revision = base["name"], base["sha256"], base.get("revision")
        with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as file:
            found = set(file.keys())
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(f"the adapters in {folder} are damaged ({error}); train them again") from error
    if Path(name).resolve() == folder.resolve():
        raise ValueError(f"{folder / BASE_FILE} names this adapter folder as its base model; train the adapters again")
    remedy = "restore the base model there, or train with --lora_merge, which saves a complete model"
    try:
        model = cls.from_pretrained(name, revision=revision, **kwargs)
    except ValueError as error:
        raise ValueError(
            f"the base model {name} of the adapters in {folder} cannot be loaded ({error}); {remedy}"
        ) from error
    if weights_hash(model) != digest:
        raise ValueError(f"the weights of the base model {name} of the adapters in {folder} have changed; {remedy}")
    try:
        adapted = PeftModel.from_pretrained(model, str(folder))
    except (RuntimeError, ValueError, KeyError, TypeError) as error:  # other tensor shapes, invalid settings
        raise ValueError(f"the adapters in {folder} do not fit {name}; {remedy}") from error
    expected = {name.replace(".default.", ".") for name in adapted.state_dict() if ".lora_" in name}
    if found != expected:
        raise ValueError(f"the adapters in {folder} are damaged ({len(found ^ expected)} tensors differ); {remedy}")
    return adapted.merge_and_unload().eval()
