"""Editing: guidance as drawn, the forward pass, refinement on the known pixels, seamless blending, and the commands."""
