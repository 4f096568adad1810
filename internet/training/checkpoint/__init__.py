"""A run's files: its folder, its checkpoints, and the weights that another run can start from."""

from internet.training.checkpoint.run_folder import open_run
from internet.training.checkpoint.store import Checkpoints
from internet.training.checkpoint.warm_start import warm_start

__all__ = ["Checkpoints", "open_run", "warm_start"]
