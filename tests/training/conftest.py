"""Makes the toy stage importable, here and in the processes that some tests start."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
