"""Where is it: masks of new images from a folder of images and masks; ``task`` tells the story."""
