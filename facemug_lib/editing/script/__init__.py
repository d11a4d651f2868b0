"""Edits in a row: scripts, sessions, exploration and what is made of them."""
