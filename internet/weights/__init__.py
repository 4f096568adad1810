"""The weights that ship with the library, by name: ``internet.load_model("figures")``, ``--checkpoint figures``."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """What there is."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def find(name: str) -> Path:
    """The file of the weights of that name.

    Raises:
        FileNotFoundError: there are none; the message lists those there are.
    """
    if name not in names():
        raise FileNotFoundError(f"there are no weights '{name}' in the library; it has {', '.join(names()) or 'none'}")
    return _FOLDER / f"{name}.safetensors"
