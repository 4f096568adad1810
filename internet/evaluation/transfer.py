"""All metrics of a model's results, for validation, demos and the cards of weights."""

from torch import Tensor

from internet.evaluation.confidence import ConfidenceMeans
from internet.evaluation.frames import FrameMetrics
from internet.evaluation.motion import MotionError
from internet.evaluation.person import PersonMetrics, moving_person
from internet.model import Result


class TransferMetrics:
    """Metrics of whole frames and of the moving person, also for the repeated source; of motion; and of confidence.

    The names in the result are those of :class:`~internet.evaluation.FrameMetrics` and
    :class:`~internet.evaluation.PersonMetrics`; with the prefix "repeated_" those of repeating the source, which any
    model must surpass; and where motion is known, those of :class:`~internet.evaluation.MotionError` and
    :class:`~internet.evaluation.ConfidenceMeans`.

    Raises:
        MissingExtraError: torchmetrics is not installed.
    """

    def __init__(self) -> None:
        self._frames, self._persons = FrameMetrics(), PersonMetrics()
        self._repeated, self._repeated_persons = FrameMetrics("repeated_"), PersonMetrics("repeated_")
        self._motion, self._confidence = MotionError(), ConfidenceMeans()
        self.measures = (
            self._frames,
            self._persons,
            self._repeated,
            self._repeated_persons,
            self._motion,
            self._confidence,
        )

    def reset(self) -> None:
        """Forget all samples."""
        for measure in self.measures:
            measure.reset()

    def update(
        self,
        result: Result,
        source: Tensor,
        target: Tensor,
        motion: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> None:
        """Add samples.

        Args:
            result: of the model, for this source and this driving frame.
            source, target: (B, 3, H, W) in [0, 1]; the target drives as well.
            motion, visible: if known or estimated, the flow from target to source, (B, 2, H, W) in pixels, and
                (B, 1, H, W), 1 where it is valid.
        """
        person = moving_person(source, target, motion, visible)
        self._frames.update(result.frame, target)
        self._persons.update(result.frame, target, person)
        self._repeated.update(source, target)
        self._repeated_persons.update(source, target, person)
        if motion is not None and visible is not None:
            self._motion.update(result.motion.field, motion, visible)
            self._confidence.update(result.motion.field, result.motion.confidence, motion, visible)

    def compute(self) -> dict[str, float]:
        """All means since the last reset, of this process, except those without values."""
        values = {name: value for measure in self.measures for name, value in measure.compute().items()}
        return {name: value for name, value in values.items() if value == value}
