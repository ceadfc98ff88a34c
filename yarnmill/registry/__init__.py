"""Projects, models, versions and endpoints: who made which model, and which one answers.

It knows databases, bundles' ids and MLflow; it does not know how a model is trained or served.
"""

from yarnmill.registry.records import Candidate, ModelEndpoint, ModelVersion, Rule
from yarnmill.registry.registry import Registry

__all__ = ["Candidate", "ModelEndpoint", "ModelVersion", "Registry", "Rule"]
