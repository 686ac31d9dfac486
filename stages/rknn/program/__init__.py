"""What `npu_inference.py` is made of beside the evaluator's own modules. Used as text; Python 3.8."""
