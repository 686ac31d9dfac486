"""The third phase: ONNX to RKNN with RKNN-Toolkit2, measured on its simulator."""
