"""The conformance kit over `Example`."""

import pytest

from zarrv3.testing import LayerConformance
from zarrv3_layer_example import Example


class TestExample(LayerConformance):
    """Everything a layer has to do."""

    @pytest.fixture
    def layer(self) -> type[Example]:
        """The layer."""
        return Example
