"""From what is wanted to the states a model sees; the same code for training and sampling."""
