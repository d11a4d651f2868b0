"""Where faces come from: the prior, real photographs, folders of images."""
