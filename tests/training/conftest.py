"""Makes these tests importable by each other, and in the processes that some of them start."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
