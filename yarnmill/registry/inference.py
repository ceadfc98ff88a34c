"""What a model schema says: which columns of a table are features, what the model answers, and what came true.

The words are Merlin's. A row is known by its session and its row in it, as in the prediction log.
"""

from typing import Annotated, Literal

import msgspec

from yarnmill.records import Record

Column = Annotated[str, msgspec.Meta(min_length=1, max_length=250, pattern=r"^[^\x00]*$")]
"""Name of a column, or a label, that every database has a place for."""

ValueType = Literal["float64", "int64", "boolean", "string"]


class BinaryClassificationOutput(Record, frozen=True, kw_only=True, tag_field="output_class", tag=True):
    """A probability of the positive class; it is predicted from ``score_threshold`` on."""

    prediction_score_column: Column
    actual_score_column: Column
    positive_class_label: Column
    negative_class_label: Column
    score_threshold: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.5

    @property
    def columns(self) -> tuple[str, str]:
        """The column of what is predicted, and that of what came true."""
        return self.prediction_score_column, self.actual_score_column


class RegressionOutput(Record, frozen=True, kw_only=True, tag_field="output_class", tag=True):
    """A number."""

    prediction_score_column: Column
    actual_score_column: Column

    @property
    def columns(self) -> tuple[str, str]:
        """The column of what is predicted, and that of what came true."""
        return self.prediction_score_column, self.actual_score_column


class RankingOutput(Record, frozen=True, kw_only=True, tag_field="output_class", tag=True):
    """A score by which the rows of a session are ordered, and how relevant each was if that is known."""

    rank_score_column: Column
    relevance_score_column: Column | None = None

    @property
    def columns(self) -> tuple[str, str | None]:
        """The column of what is predicted, and that of what came true."""
        return self.rank_score_column, self.relevance_score_column


class InferenceSchema(Record, frozen=True, kw_only=True):
    """The columns of a model.

    Parameters
    ----------
    feature_types
        Its features, each with its type.
    model_prediction_output
        What it answers, and what came true.
    session_id_column, row_id_column
        What a row is known by.
    feature_orders
        The features in the order in which the model takes them; None: it takes them by name.
    tag_columns
        What rows are told apart by when they are looked at.
    """

    feature_types: Annotated[dict[Column, ValueType], msgspec.Meta(min_length=1, max_length=10_000)]
    model_prediction_output: BinaryClassificationOutput | RegressionOutput | RankingOutput
    session_id_column: Column = "session_id"
    row_id_column: Column = "row_id"
    feature_orders: tuple[Column, ...] | None = None
    tag_columns: tuple[Column, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse an order of other features, and one column for two things."""
        if self.feature_orders and sorted(self.feature_orders) != sorted(self.feature_types):
            raise ValueError("feature_orders: not each of feature_types once")
        columns = (self.session_id_column, self.row_id_column, *self.model_prediction_output.columns)
        named = [name for name in columns if name is not None]
        taken = [name for at, name in enumerate(named) if name in self.feature_types or name in named[:at]]
        if taken:
            raise ValueError(f"{taken[0]}: one column for two things")
