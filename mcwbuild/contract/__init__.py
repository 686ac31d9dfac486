"""What the orchestrator and the stages agree on: documents, schemas, inheritance, errors, the wall."""
