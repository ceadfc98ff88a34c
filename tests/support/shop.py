"""The feature tables of a small shop: what was known of its clients and goods when."""

import datetime as dt

from yarnmill.tables import parse_feature_table

CLIENTS = parse_feature_table(
    """
namespace: shop
name: clients
meaning: Clients.
event_time: since
keys: [{name: client, dtype: string, meaning: Who.}]
features:
  - {name: spent, dtype: float64, owner: me, meaning: Money., default: -1.0}
  - {name: words, dtype: bag, owner: me, meaning: Words.}
""",
    source="clients.yaml",
)
GOODS = parse_feature_table(
    """
namespace: shop
name: goods
meaning: Goods.
event_time: since
keys: [{name: goods, dtype: int64, meaning: What.}]
features: [{name: price, dtype: float64, owner: me, meaning: Price., default: 0.0}]
""",
    source="goods.yaml",
)
DAY = dt.date(2026, 1, 31)
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
