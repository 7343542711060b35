"""The conformance kit over `ExampleStore`."""

from functools import partial
from uuid import uuid4

import pytest

from zarrv3.testing import Opener, StoreConformance
from zarrv3_store_example import ExampleStore


class TestExampleStore(StoreConformance):
    """Everything a store has to do."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Every call opens the same dict, which is new."""
        return partial(ExampleStore, str(uuid4()))
