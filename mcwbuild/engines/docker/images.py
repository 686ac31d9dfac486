"""placeholder until the images branch is merged"""
from __future__ import annotations
def find(client, phase): raise NotImplementedError
