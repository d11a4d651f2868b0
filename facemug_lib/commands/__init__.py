"""Everything that knows typer: one file per group of commands."""
