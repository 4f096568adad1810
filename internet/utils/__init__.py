"""What the whole library shares: files, optional packages, the loader of the compiled parts."""
