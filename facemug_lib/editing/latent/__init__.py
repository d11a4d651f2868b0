"""Moving codes: along directions, after a text, to a pose."""
