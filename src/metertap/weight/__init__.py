"""What tools weigh in a model's context: bytes of their definitions and results, and tokens."""
