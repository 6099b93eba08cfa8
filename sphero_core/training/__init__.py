"""Training and export through the TensorFlow Model Garden; nothing that serves images imports this."""
