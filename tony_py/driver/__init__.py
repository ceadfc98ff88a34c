"""The driver: it adds the containers, brings the gang to its barrier and decides how the application ended."""
