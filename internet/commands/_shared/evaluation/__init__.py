"""`internet evaluate`: measure clip after clip, and show the results."""
