"""Model schemas: which columns are a model's features, its answers, and what came true. A model may have several."""

import sqlalchemy as sa

from yarnmill.errors import NotFoundError
from yarnmill.records import compact_json, to_plain
from yarnmill.registry import rows
from yarnmill.registry.database import Database, Session, check_revision
from yarnmill.registry.inference import InferenceSchema
from yarnmill.registry.records import AuditValue, ModelSchema
from yarnmill.registry.schema import MODEL, MODEL_SCHEMA


class ModelSchemas:
    """The model schemas of a registry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, model: str, spec: InferenceSchema) -> ModelSchema:
        """Add a schema to a model; NotFoundError if there is no such model."""

        def create(session: Session) -> ModelSchema:
            when = {"created_at": session.now, "changed_at": session.now}
            values = {"model_id": session.model_id(model), "spec": to_plain(spec), "revision": 1}
            made = _get(session, model, session.insert(MODEL_SCHEMA, **values, **when))
            session.note("set schema", model, {}, _told(made))
            return made

        return self._database.change(create)

    def update(self, model: str, schema_id: int, spec: InferenceSchema, *, expected: int | None = None) -> ModelSchema:
        """Change a schema; what it says already is no change.

        Raises
        ------
        NotFoundError
            If the model has no such schema.
        ConflictError
            If it is not at revision ``expected``.
        """

        def update(session: Session) -> ModelSchema:
            session.model_id(model, lock=True)
            before = _get(session, model, schema_id)
            check_revision(f"schema {schema_id} of {model}", expected, before.revision, "yarnmill models schemas list")
            if before.spec == spec:
                return before
            values = {"spec": to_plain(spec), "revision": before.revision + 1, "changed_at": session.now}
            session.execute(sa.update(MODEL_SCHEMA).where(MODEL_SCHEMA.c.id == schema_id).values(values))
            after = _get(session, model, schema_id)
            session.note("set schema", model, _told(before), _told(after))
            return after

        return self._database.change(update)

    def delete(self, model: str, schema_id: int) -> None:
        """Take a schema away; NotFoundError if the model has none of that id."""

        def delete(session: Session) -> None:
            session.model_id(model, lock=True)
            before = _get(session, model, schema_id)
            session.execute(sa.delete(MODEL_SCHEMA).where(MODEL_SCHEMA.c.id == schema_id))
            session.note("delete schema", model, _told(before), {})

        self._database.change(delete)

    def get(self, model: str, schema_id: int) -> ModelSchema:
        """Return a schema; NotFoundError if the model has none of that id."""
        with self._database.reading() as session:
            return _get(session, model, schema_id)

    def find(self, model: str | None = None) -> list[ModelSchema]:
        """Return schemas, all or those of a model, ordered by model and id."""
        query = rows.MODEL_SCHEMAS.order_by(MODEL.c.name, MODEL_SCHEMA.c.id)
        if model is not None:
            query = query.where(MODEL.c.name == model)
        with self._database.reading() as session:
            return [rows.record_of(row, ModelSchema) for row in session.execute(query)]


def _get(session: Session, model: str, schema_id: int) -> ModelSchema:
    query = rows.MODEL_SCHEMAS.where(MODEL_SCHEMA.c.id == schema_id, MODEL.c.name == model)
    row = session.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"{model} has no schema {schema_id}", mend=f"yarnmill models schemas list {model}")
    return rows.record_of(row, ModelSchema)


def _told(schema: ModelSchema) -> dict[str, AuditValue]:
    return {"schema": schema.id, "spec": compact_json(schema.spec).decode()}
