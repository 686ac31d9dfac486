"""The docker engine: stage images, and containers that run them; the Docker SDK is imported below here, when used."""
