"""Workers of one service on one host: the holder of their port answers for all of them."""
