"""Which of a model's metrics are shown."""

#: A label, the metric, and the same metric for a model that does nothing.
METRICS = (
    ("PSNR, dB", "psnr", "repeated_psnr"),
    ("SSIM", "ssim", "repeated_ssim"),
    ("PSNR over the person, dB", "person_psnr", "repeated_person_psnr"),
    ("motion error, pixels", "epe", "epe_zero"),
)
