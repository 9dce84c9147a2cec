"""Where images come from: hub datasets, folders of images, embedded digits."""
