"""The program that measures the models on a board: part of the archive of `mcwbuild board pack`."""
