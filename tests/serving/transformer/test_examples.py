"""The transformer of the MovieLens example takes what its tables have, and makes what its model takes."""

from pathlib import Path

from serving.transformer.bundled import unavailable
from serving.transformer.definition import parse_transformer
from serving.transformer.transformer import Transformer
from yarnmill.bundle.manifest import Field, Signature
from yarnmill.tables import parse_feature_table


def test_the_movielens_transformer_fits_tables_and_model(repository: Path) -> None:
    path = repository / "examples" / "movielens" / "transformer.yaml"
    definition = parse_transformer(path.read_text(), source=str(path))
    fields = []
    for lookup in definition.lookups:
        name = lookup.table.removeprefix("movielens.")
        text = (repository / "conf" / "movielens" / "tables" / f"{name}.yaml").read_text()
        table = parse_feature_table(text, source=name)
        assert {one.name: one.dtype for one in lookup.wanted} == {one.name: one.dtype for one in table.features}
        assert list(lookup.entities) == [key.name for key in table.keys]
        fields += [Field(name=key.name, dtype=key.dtype) for key in table.keys]
        fields += [
            Field(name=one.name, dtype=one.dtype, required=one.default is None, default=one.default)
            for one in table.features
        ]
    transformer = Transformer(definition, Signature(inputs=tuple(fields), outputs=()), unavailable)
    assert transformer.tables == ("movielens.user_activity", "movielens.film_activity")
