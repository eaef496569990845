"""Several predictions made into one: blends, stacking, calibration and intervals, out of fold."""
