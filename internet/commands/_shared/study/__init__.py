"""What `internet study` does: a user study as a static page, and what came of it."""
