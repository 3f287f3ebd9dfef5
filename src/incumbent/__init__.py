"""incumbent keeps a production recommender honest: serve, log, measure, judge, act."""

__version__ = "0.1.0"
