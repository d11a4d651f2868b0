"""One loop, five stages: head, expert, encoder, warping, generator."""
