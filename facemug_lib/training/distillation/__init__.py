"""What the expert student learns from: its teachers, read from their published files, and the agreement with them."""
