"""Pictures with texture, and views of them."""

import cv2
import numpy as np

VIEW = np.array([[1.02, 0.08, -6.0], [-0.05, 0.97, 9.0], [1e-4, -5e-5, 1.0]])


def textured(seed, height=200, width=320):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(height, width)).astype(np.float32)
    picture = cv2.GaussianBlur(noise, (0, 0), 1.5) + cv2.GaussianBlur(noise, (0, 0), 5) * 3
    return cv2.normalize(picture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def seen_from(picture, matrix):
    size = picture.shape[::-1]
    return cv2.warpPerspective(picture, matrix, size, borderMode=cv2.BORDER_REFLECT)
