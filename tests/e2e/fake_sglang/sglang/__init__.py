"""A stand-in for SGLang 0.5.17: its options, its JSONL, its workers and what they say of NCCL, without a model."""
