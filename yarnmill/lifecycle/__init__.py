"""The life of a model: publish → gate → promote → roll back → retire. Each step can be run again."""
