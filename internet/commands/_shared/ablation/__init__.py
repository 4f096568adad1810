"""`internet ablate`: train and measure every scheme, and compare them in one table."""
