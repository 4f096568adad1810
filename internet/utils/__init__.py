"""Utilities of the whole library: files, settings, optional packages, the loader of the compiled parts."""
