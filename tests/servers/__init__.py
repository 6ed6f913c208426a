"""Real servers, clients and stacks that tests run against."""
