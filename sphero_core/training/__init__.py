"""Training and export through the TensorFlow Model Garden; nothing that serves images imports this."""

import os

# The Model Garden is written for Keras 2, and TensorFlow decides on its first import which Keras it is.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
