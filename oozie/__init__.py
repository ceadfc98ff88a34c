"""Workflow definitions and the client that runs them: Oozie schedules the whole life of a model."""
