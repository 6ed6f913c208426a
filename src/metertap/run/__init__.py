"""`metertap run`: measuring a program that says nothing of metertap."""
