"""What is shown of a model's metrics."""

#: A label, the metric, and the same of a model that does nothing.
METRICS = (
    ("PSNR, dB", "psnr", "repeated_psnr"),
    ("SSIM", "ssim", "repeated_ssim"),
    ("PSNR over the person, dB", "person_psnr", "repeated_person_psnr"),
    ("motion error, pixels", "epe", "epe_zero"),
)
