"""`metertap run`: measuring a program that does not know of metertap."""
