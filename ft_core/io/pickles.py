"""Pickled files can run code when they are read: detection, and how to convert them instead."""

from pathlib import Path

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")


def is_pickle(name: str | Path) -> bool:
    """Whether a file's name is that of a pickle, compressed or not."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes[-2:]]
    return bool(suffixes) and (suffixes[-1] in PICKLE_SUFFIXES or suffixes[0] in PICKLE_SUFFIXES)


def weights_remedy(pickle: str, target: str = "model.safetensors") -> str:
    """How to convert pickled weights to safetensors."""
    return (
        f'convert them if you trust their origin: python -c "import torch; from safetensors.torch import save_file; '
        f"save_file({{k: v.clone() for k, v in torch.load('{pickle}', weights_only=True).items()}}, '{target}')\""
    )


def refuse_pickled_weights(path: Path) -> None:
    """Raises ValueError with a conversion command if the path of a model is a pickled file."""
    if is_pickle(path):
        raise ValueError(f"model={path} has the suffix of a pickle, which is never loaded; {weights_remedy(path.name)}")


def refuse_pickled_data(path: Path, write: str) -> None:
    """Refuses a data file that is a pickle.

    Args:
        path (`Path`): the data file.
        write (`str`): pandas method that writes a supported format, such as `to_parquet('{stem}.parquet')`.

    Raises:
        ValueError: the file is a pickle; the message contains a conversion command.
    """
    if is_pickle(path):
        converted = write.format(stem=path.name.split(".")[0])
        raise ValueError(
            f"data file {path} has the suffix of a pickle, which is never read because it can run arbitrary code; "
            'convert it if you trust its origin: python -c "import pandas; '
            f"pandas.read_pickle('{path.name}').{converted}\""
        )
