"""Running means of a few named quantities."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Means:
    """The mean of all values added under each name, in float64; NaN if there were none.

    `totals`, (names, 2), holds sums and counts, on the device of the values, for this process only;
    ``torch.distributed.all_reduce(means.totals)`` combines those of all processes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.totals = torch.zeros(len(self.names), 2, dtype=torch.float64)

    def add(self, **values: Tensor) -> None:
        """Add all elements of each tensor to the mean of its name. Does not wait for the device."""
        for name, value in values.items():
            self.totals = self.totals.to(value.device)
            row = self.totals[self.names.index(name)]
            row[0] += value.sum(dtype=torch.float64)
            row[1] += value.numel()

    def add_ratio(self, name: str, parts: Tensor, wholes: Tensor) -> None:
        """Add to the sum of `parts` divided by the sum of `wholes`: the mean of their ratios, weighted by `wholes`."""
        self.totals = self.totals.to(parts.device)
        row = self.totals[self.names.index(name)]
        row[0] += parts.sum(dtype=torch.float64)
        row[1] += wholes.sum(dtype=torch.float64)

    def compute(self) -> dict[str, float]:
        """The means by name."""
        sums, counts = self.totals.unbind(1)
        return dict(zip(self.names, (sums / counts).tolist(), strict=True))
