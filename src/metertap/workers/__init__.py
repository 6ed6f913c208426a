"""Workers of one service on one host, which answer as one: the holder of their port for all."""
