"""Implementation of the commands, and what several of them share."""
