"""Whole models: frames of a stream and training steps."""
