"""How the hole is filled: latent optimisation, tones, colours and seams."""
