import msgspec
import numpy as np
import pandas as pd
import pytest

from photon.encoding import Encoding, encode, learn
from yarnmill.errors import BadDataError, ConfigurationError
from yarnmill.records import canonical_json, parse_json

TERMS = "x + bs(x, df=4) + scale(z) + poly(z, 2) + g*x + C(k) + flag + C(h, contr.sum) + np.log(x + 1)"


@pytest.fixture
def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": random.uniform(0.0, 9.0, 60),
            "z": random.normal(size=60),
            "g": random.choice(list("abc"), 60),
            "h": pd.Categorical(random.choice(list("uvw"), 60)),
            "k": random.integers(1, 4, 60),
            "flag": random.random(60) < 0.5,
        }
    )


def test_rows_are_encoded_alone_as_they_were_in_training(frame: pd.DataFrame) -> None:
    encoding, rows = learn(TERMS, frame)
    read = parse_json(canonical_json(encoding), Encoding, source="encoding")
    for part in (slice(0, 1), slice(7, 30), slice(59, 60)):
        found = encode(read, frame.iloc[part])
        np.testing.assert_array_equal(found.to_dense(), rows.to_dense()[part])
    assert read == msgspec.structs.replace(encoding)
    assert encoding.intercept == 0
    assert encoding.variables == ("flag", "g", "h", "k", "x", "z")


def test_a_level_that_training_did_not_see_counts_nothing(frame: pd.DataFrame) -> None:
    encoding, _ = learn("0 + g + C(k)", frame)
    other = frame.iloc[:3].assign(g=["a", "new", None], k=[99, 1, 2])
    found = encode(encoding, other).to_dense()
    np.testing.assert_array_equal(found, [[1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]])


def test_a_number_that_is_missing_names_column_and_row(frame: pd.DataFrame) -> None:
    encoding, _ = learn("x + g", frame)
    broken = frame.copy()
    broken.loc[[5, 8], "x"] = np.nan
    for attempt in (lambda: learn("x + g", broken), lambda: encode(encoding, broken)):
        with pytest.raises(BadDataError, match="x: no finite number in 2 rows, the first of them 5"):
            attempt()


def test_terms_that_cannot_be_meant_are_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match="no column 'nowhere'"):
        learn("x + nowhere", frame)
    with pytest.raises(ConfigurationError, match="terms 'x \\+\\+\\* z'"):
        learn("x ++* z", frame)


def test_columns_of_another_type_than_in_training_are_refused(frame: pd.DataFrame) -> None:
    encoding, _ = learn("x + z", frame)
    with pytest.raises((BadDataError, ConfigurationError)):
        encode(encoding, frame.assign(z="text"))
