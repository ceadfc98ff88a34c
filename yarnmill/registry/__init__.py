"""Projects, models, versions and endpoints: who made which model, and which one answers."""
