# contract      what every store provides           keys          which texts are keys
# helpers       free functions for drivers          locks         what threads share
# base          what users hold                     backend       the guard around a driver
# file_backend  stores in a file or folder          memory        stores in this process's memory
# files         helper files, and durable names
"""Stores: the contract, the guard around drivers, and what users hold."""
