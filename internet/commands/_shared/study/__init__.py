"""`internet study`: a user study as a static page, and its results."""
