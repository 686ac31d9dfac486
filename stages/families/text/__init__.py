"""Networks that read a line of text and were trained with CTC: CRNN and its relatives."""
