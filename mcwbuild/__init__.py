"""mcwbuild: PyTorch to ONNX to RKNN, one contract, measured at every phase."""

__version__ = "0.1.0"
