"""Folders and files as a store.

store   the options and the URL: `DirectoryStore`
driver  the contract over files
folders walking to a key's folder without leaving the root
"""

from zarrv3_store_directory.store import DirectoryStore

__all__ = ["DirectoryStore"]
