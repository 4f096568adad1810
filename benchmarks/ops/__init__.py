"""The operators one by one: against eager and compiled torch, against themselves, and what a call costs."""
