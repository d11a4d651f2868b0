"""Scores of weights, baselines and other people's pictures on fixed test sets."""
