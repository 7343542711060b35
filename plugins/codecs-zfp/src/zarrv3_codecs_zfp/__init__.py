"""The codec `zfp`, by the library zfpy.

zfp    `ZFP`: modes, shapes, and bytes that end too early
"""

from zarrv3_codecs_zfp.zfp import ZFP

__all__ = ["ZFP"]
