"""`metertap run`: measuring a program that knows nothing of metertap."""
