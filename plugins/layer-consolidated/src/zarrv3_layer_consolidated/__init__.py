"""Consolidated metadata: a layer that serves a tree's documents out of one, and says when they are stale.

layer      `ConsolidatedMetadataStore`: the layer of the core, with a look at the store
staleness  `Staleness`: what the documents say now, compared with what was consolidated
"""

from zarrv3.errors import StaleMetadataWarning
from zarrv3_layer_consolidated.layer import ConsolidatedMetadataStore
from zarrv3_layer_consolidated.staleness import Staleness

__all__ = ["ConsolidatedMetadataStore", "StaleMetadataWarning", "Staleness"]
