"""The weights that ship with the library, by name: ``internet.load_model("figures")``, ``--checkpoint figures``."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names of all weights that ship."""
    return sorted(path.stem for path in _FOLDER.glob("*.safetensors"))


def find(name: str) -> Path:
    """The file of the weights with this name.

    Raises:
        FileNotFoundError: there are none; the message lists the existing names.
    """
    if name not in names():
        raise FileNotFoundError(f"there are no weights '{name}' in the library; it has {', '.join(names()) or 'none'}")
    return _FOLDER / f"{name}.safetensors"
