# stores        from a URL, path, configuration or object to a store
# hooks         functions that any number of plugins provide
"""Opening: from whatever a user has to a store."""
