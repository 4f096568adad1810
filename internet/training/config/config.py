"""Everything that can be set about a training run."""

import dataclasses
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from internet.model.config import PRESETS, INTERnetConfig
from internet.training.config.sections import Checkpoint, Data, Log, Loss, Optimizer, Run, Validation
from internet.training.config.text import merged, nested, read_file, read_words
from internet.training.recipes import recipe_or_file
from internet.utils.settings import Section, SettingError, plain, read, setting, settings


@dataclass(frozen=True)
class Config(Section):
    """A training run. `internet train --help` lists every setting with its default and its range."""

    out: str = setting("", "the run's folder: checkpoints, learning curves, this configuration", resumable=True)
    seed: int = setting(0, "of weights, samples and deformations", least=0)
    warm_start: str = setting("", "weights to start from: a checkpoint, a training folder, or what import-fomm wrote")
    model: INTERnetConfig = dataclasses.field(default_factory=INTERnetConfig)
    data: Data = dataclasses.field(default_factory=Data)
    validation: Validation = dataclasses.field(default_factory=Validation)
    loss: Loss = dataclasses.field(default_factory=Loss)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    run: Run = dataclasses.field(default_factory=Run)
    log: Log = dataclasses.field(default_factory=Log)
    checkpoint: Checkpoint = dataclasses.field(default_factory=Checkpoint)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.pose_augmentation.probability and self.loss.regularization != "none":
            raise ValueError(
                f"loss.regularization is {self.loss.regularization!r}, expected 'none' with data.pose_augmentation: "
                "the frame before is not in the same pose"
            )

        if self.model.scene and not self.data.pose:
            raise ValueError("model.scene is True, expected False without data.pose, which tells people from the scene")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """The inverse of :meth:`to_dict`; `model.preset` is the preset that the other model settings change.

        Raises:
            SettingError: an unknown name, with the nearest known one; a value of a wrong type or out of range.
        """
        values = dict(values)
        if isinstance(model := values.get("model"), Mapping):
            model = dict(model)
            name = model.pop("preset", "internet-512")
            if name not in PRESETS:
                raise SettingError(f"model.preset is {name!r}, expected one of {', '.join(PRESETS)}")
            values["model"] = {**PRESETS[name], **model}
        return read(cls, values, known=["model.preset", *(name for name, _ in settings(cls))])

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None,
        words: Sequence[str] = (),
        changes: Mapping[str, Any] | None = None,
    ) -> "Config":
        """A configuration from a YAML file or a recipe, or the default one, with changes.

        Args:
            path: the file, or the recipe's name.
            words: changes to it, like `run.batch=8`.
            changes: changes applied before those: values by dotted names.

        Raises:
            OSError: the file cannot be read.
            SettingError: see :meth:`from_dict`; or the file or a word is malformed.
            MissingExtraError: PyYAML is not installed.
        """
        values = {} if path is None else read_file(recipe_or_file(path))
        for name, value in (changes or {}).items():
            values = merged(values, nested(name, value))
        texts = [name for name, field in settings(cls) if field.type is str]
        return cls.from_dict(merged(values, read_words(words, texts)))

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain types."""
        values: dict[str, Any] = plain(self)
        return values

    def differences(self, other: "Config") -> list[str]:
        """The differences, in words, for which a run with one cannot be resumed with the other."""
        return [
            f"{name} was {plain(mine)!r}, is {plain(theirs)!r}"
            for name, field in settings(Config)
            if not field.metadata["resumable"] and (mine := self.at(name)) != (theirs := other.at(name))
        ]

    def at(self, name: str) -> Any:
        """The setting with a dotted name."""
        return operator.attrgetter(name)(self)
