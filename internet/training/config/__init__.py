"""Everything that can be set about a training run, and how it is read from files and command lines."""

from internet.training.config.config import Config
from internet.utils.settings import SettingError

__all__ = ["Config", "SettingError"]
