"""Small models with the structure and the names of those that `internet.accelerate` knows, written for these tests."""
