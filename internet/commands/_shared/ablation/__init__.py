"""What `internet ablate` does: train and measure every scheme, and put them into one table."""
