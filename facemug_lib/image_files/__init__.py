"""Image files of every kind and back: decoded pixels, what else a file says (colour profile, date, author), and encoding."""
