"""What is it: labels of whole images, one each, several, or ordered grades."""
