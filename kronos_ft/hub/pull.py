"""What `kronos-ft pull` takes for a Kronos model."""

from pathlib import Path

from ..models.modeling_kronos import Kronos, KronosTokenizer
from ..models.pretrained import ADAPTER_CONFIG, CONFIG_NAME, read_keys


def check_kronos_folder(folder: Path) -> None:
    """Raises ValueError unless a folder holds a Kronos tokenizer or predictor, whole, or adapters to one.

    The weights' names and shapes are compared with the configuration; adapters are looked at when they are loaded,
    together with the model that they belong to.
    """
    if not (folder / CONFIG_NAME).is_file():
        raise ValueError(f"the repository has no {CONFIG_NAME}, so it holds no Kronos model; name another")
    kind = KronosTokenizer if "n_enc_layers" in read_keys(folder) else Kronos
    config = kind.read_config(folder)
    if not (folder / ADAPTER_CONFIG).is_file():
        kind.check_weights(folder, config)
