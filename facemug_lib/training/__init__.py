"""One loop, six stages: head, expert, encoder, warping, generator, text."""
