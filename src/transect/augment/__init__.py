"""Random changes of training pictures: one warp for all geometry, one table for all tones.

``augment_sample`` changes one picture and everything that must move with it, on the processor;
``transect.filters`` holds what is done to every picture alike.
"""

from transect.augment.sample import augment_sample
from transect.augment.validity import check_augment, invalid_kinds

__all__ = ["augment_sample", "check_augment", "invalid_kinds"]
