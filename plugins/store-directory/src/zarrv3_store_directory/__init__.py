"""Folders and files as a store.

store   the options and the URL: `DirectoryStore`
driver  the contract over files
folders walking to a key's folder without leaving the root

What was taken for a folder:
signatures  what a file is, by its first bytes
hooks       `auto=True` opens it
"""

from zarrv3_store_directory.store import DirectoryStore

__all__ = ["DirectoryStore"]
