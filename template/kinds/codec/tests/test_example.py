"""The conformance kit over the codec."""

import pytest

from zarrv3.testing import CodecConformance


class TestExample(CodecConformance):
    """Everything a codec has to do."""

    @pytest.fixture
    def codec(self) -> dict[str, str]:
        """The codec as metadata has it."""
        return {"name": "example"}
