"""What the commands do once their options are read; no file here knows typer."""
