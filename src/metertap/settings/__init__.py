"""Settings: keywords, environment and configuration file, read into one frozen object."""
