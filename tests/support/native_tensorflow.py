"""Writes SavedModels that cannot be ONNX: run under the training environment, with the folder that they go to.

They know the words ``good`` (3) and ``fine`` (1). ``raise`` makes them raise, ``hang`` never lets them answer.
"""

import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras  # TensorFlow reads its environment when it is imported
import tensorflow as tf

WORDS = ("good", "fine")


class Reviews(tf.Module):
    """Text to score and label: Keras' own vectorisation, ragged rows, a lookup."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.words = keras.layers.TextVectorization(vocabulary=list(WORDS), output_mode="int", ragged=True)
        worth = tf.lookup.KeyValueTensorInitializer(tf.constant([2, 3], tf.int64), tf.constant([3.0, 1.0]))
        self.worth = tf.lookup.StaticHashTable(worth, 0.0)
        self.bias = tf.Variable(bias)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([None, 2], tf.float32)])
    def serve(self, text: tf.Tensor, features: tf.Tensor) -> dict[str, tf.Tensor]:
        tf.debugging.assert_none_equal(text, "raise", message="no such text")
        hangs = tf.reduce_any(tf.equal(text, "hang"))
        (hung,) = tf.while_loop(lambda going: going, lambda going: [tf.identity(going)], [hangs])
        found = self.worth.lookup(self.words(text))
        score = tf.reduce_sum(found, axis=1) + tf.reduce_sum(features, axis=1) + self.bias
        score += tf.cast(hung, tf.float32)  # else the loop were nobody's
        return {
            "score": score,
            "label": tf.where(score > 2.0, "liked", "böse"),
            "twice": tf.stack([score, 2.0 * score], axis=1),
        }


def main(target: str) -> None:
    """Write ``tensorflow`` with a bias of 0 and ``tensorflow-10`` with one of 10."""
    for name, bias in (("tensorflow", 0.0), ("tensorflow-10", 10.0)):
        reviews = Reviews(bias)
        tf.saved_model.save(reviews, str(pathlib.Path(target) / name), {"serving_default": reviews.serve})


if __name__ == "__main__":
    main(sys.argv[1])
