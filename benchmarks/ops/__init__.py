"""The operators one by one: against eager and compiled torch, in variants, and the overhead of a call."""
