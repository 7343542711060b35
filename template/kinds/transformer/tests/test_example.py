"""The conformance kit over `Example`."""

import pytest

from zarrv3.testing import TransformerConformance
from zarrv3_transformer_example import Example


class TestExample(TransformerConformance):
    """Everything a storage transformer has to do."""

    @pytest.fixture
    def transformer(self) -> Example:
        """The transformer with its configuration."""
        return Example("example")
