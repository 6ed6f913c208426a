"""`metertap weight`: what a server's tools weigh in a model's context, without running one."""
