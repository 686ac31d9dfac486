"""A stand-in for rknn-toolkit-lite2, which exists for ARM boards only. See `api`."""
