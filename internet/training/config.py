"""Everything that can be set about a training run."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from internet.model.config import PRESETS, INTERnetConfig
from internet.training.overrides import SettingError, merged, plain, read, read_words, settings
from internet.training.recipes import recipe_or_file
from internet.training.sections import Checkpoint, Data, Log, Loss, Optimizer, Run, Validation
from internet.training.setting import setting
from internet.utils.optional import require


@dataclass(frozen=True)
class Config:
    """A training run. `internet train --help` lists every setting with its default."""

    out: str = setting("", "the run's folder: checkpoints, learning curves, this configuration", free=True)
    seed: int = setting(0, "of weights, samples and deformations")
    start: str = setting("", "weights to start from: a checkpoint or training folder, or what import-fomm wrote")
    model: INTERnetConfig = dataclasses.field(default_factory=INTERnetConfig)
    data: Data = dataclasses.field(default_factory=Data)
    validation: Validation = dataclasses.field(default_factory=Validation)
    loss: Loss = dataclasses.field(default_factory=Loss)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    run: Run = dataclasses.field(default_factory=Run)
    log: Log = dataclasses.field(default_factory=Log)
    checkpoint: Checkpoint = dataclasses.field(default_factory=Checkpoint)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """The inverse of :meth:`to_dict`; `model.preset` names what the other model settings change."""
        values = dict(values)
        if isinstance(model := values.get("model"), Mapping):
            model = dict(model)
            name = model.pop("preset", "internet-512")
            if name not in PRESETS:
                raise SettingError(f"model.preset is {name!r}, expected one of {', '.join(PRESETS)}")
            values["model"] = {**PRESETS[name], **model}
        return read(cls, values, known=["model.preset", *(name for name, _ in settings(cls))])

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None, words: Sequence[str] = ()) -> "Config":
        """A YAML file or recipe, if there is one, and changes to it: words like `run.batch=8`."""
        values: Any = {}
        if path is not None:
            path = recipe_or_file(path)
            yaml = require("yaml", "reading a configuration")
            try:
                values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
            except yaml.YAMLError as error:
                raise SettingError(f"'{path}' is no YAML: {error}") from error
            if not isinstance(values, Mapping):
                raise SettingError(f"'{path}' holds a {type(values).__name__}, expected sections of settings")
        return cls.from_dict(merged(values, read_words(words)))

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain types."""
        values: dict[str, Any] = plain(self)
        return values

    def differences(self, other: "Config") -> list[str]:
        """What keeps a run with one from being resumed with the other, in words."""
        return [
            f"{name} was {mine!r}, is {theirs!r}"
            for name, field in settings(Config)
            if (mine := self.at(name)) != (theirs := other.at(name)) and not field.metadata.get("free")
        ]

    def at(self, name: str) -> Any:
        """The setting of a dotted name."""
        value: Any = self
        for part in name.split("."):
            value = getattr(value, part)
        return value
