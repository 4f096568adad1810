"""LivePortrait's dense motion and its warp, without the networks, with the operators."""

from torch import Tensor

from internet import ops


def dense_motion(
    source: Tensor, volume: Tensor, logits: Tensor, kp_source: Tensor, kp_driving: Tensor
) -> tuple[Tensor, Tensor]:
    """The dense-motion network's input, and the appearance volume warped by the mixture of its logits.

    Args:
        source: (B, C, D, H, W), the compressed appearance volume.
        volume: (B, C', D, H, W), the appearance volume.
        logits: (B, K+1, D, H, W), of the mixture, which the network would compute.
        kp_source: (B, K, 3) anchors.
        kp_driving: (B, K, 3) anchors.

    Returns:
        (B, (K+1)(1+C), D, H, W) and (B, C', D, H, W). The grid uses align_corners=True, sampling uses False.
    """
    features = ops.anchor_features(source, kp_source, kp_driving, grid_align_corners=True)
    field = ops.affine_mixture(logits, kp_source, kp_driving, align_corners=True)
    return features, ops.volume_warp(volume, field)
