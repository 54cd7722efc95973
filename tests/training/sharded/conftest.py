import sys
from pathlib import Path

# The processes that tests start import their jobs by name.
sys.path.insert(0, str(Path(__file__).parent))
