"""Where kernel and product meet: clusters, clients, properties, scenarios."""
