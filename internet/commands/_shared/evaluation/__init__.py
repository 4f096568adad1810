"""What `internet evaluate` does: measure clip after clip, and show what came of it."""
