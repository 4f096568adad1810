"""Frames to work on: from videos, from pictures, or drawn."""
