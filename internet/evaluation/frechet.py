"""The Fréchet distance between two sets of features."""

import numpy as np


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    r"""The squared Fréchet distance between the Gaussians of two sets of features.

    .. math:: \|\mu_1 - \mu_2\|^2 + \mathrm{tr}\, C_1 + \mathrm{tr}\, C_2 - 2\, \mathrm{tr} (C_1 C_2)^{1/2}

    (Heusel et al., "GANs trained by a two time-scale update rule", 2017). With :math:`C = A^T A`, A the centred
    features over :math:`\sqrt{N-1}`, the last trace is the sum of the singular values of :math:`A_1 A_2^T`. This
    is exact even with fewer features than dimensions, when the covariances are singular and the square root of their
    product is hard to compute.

    Args:
        features, others: (N, D) and (M, D), N and M at least 2.

    Returns:
        At least 0; it grows as N falls below D, so only distances with similar N and M can be compared. NaN for fewer
        than two features.
    """
    if min(len(features), len(others)) < 2:
        return float("nan")
    (mean, scatter), (other_mean, other_scatter) = map(_moments, (features, others))
    common = np.linalg.svd(_factor(scatter) @ _factor(other_scatter).T, compute_uv=False).sum()
    distance = np.square(mean - other_mean).sum() + np.square(scatter).sum() + np.square(other_scatter).sum()
    return max(float(distance - 2 * common), 0.0)


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and A with A^T A the covariance, in float64."""
    features = np.asarray(features, np.float64)
    mean = features.mean(0)
    return mean, (features - mean) / np.sqrt(len(features) - 1)


def _factor(scatter: np.ndarray) -> np.ndarray:
    """A with at most as many rows as columns and the same A^T A: the singular values are unchanged."""
    if len(scatter) <= scatter.shape[1]:
        return scatter
    triangle: np.ndarray = np.linalg.qr(scatter, mode="r")  # type: ignore[assignment]  # one result in this mode
    return triangle
