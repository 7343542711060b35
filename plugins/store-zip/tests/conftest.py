"""What the tests of archives share; lets them import their helper module, which the import mode `importlib` does not."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an archive can be made."""
    return tmp_path / "data.zip"
