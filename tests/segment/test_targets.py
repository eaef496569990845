import numpy as np

from transect.segment.targets import centre_map, object_centres, planes_of


def two_touching():
    labels = np.zeros((7, 12), np.int32)
    labels[1:6, 1:6] = 1
    labels[1:6, 6:11] = 2
    return labels


def test_centre_map_is_high_inside_and_low_where_objects_touch():
    found = centre_map(two_touching())
    assert found[3, 3] == 255
    assert found[3, 8] == 255
    assert found[3, 5] == 0
    assert found[3, 6] == 0
    assert found[0].max() == 0


def test_planes_of_every_kind():
    labels = np.array([[0, 1], [2, -1]], np.int32)
    assert planes_of(labels, "binary")[..., 0].tolist() == [[0, 255], [255, 0]]
    classes = planes_of(labels, "classes", 2)
    assert classes[..., 0].tolist() == [[255, 0], [0, 255]]
    assert classes[..., 2].tolist() == [[0, 0], [255, 0]]
    assert planes_of(two_touching(), "instances").shape == (7, 12, 2)


def test_centres_of_instances_are_their_centroids():
    assert object_centres(two_touching(), "instances").tolist() == [[3.0, 3.0], [8.0, 3.0]]
    assert object_centres(np.zeros((3, 3), int), "instances").shape == (0, 2)


def test_centres_of_regions_lie_inside_them():
    labels = np.zeros((20, 20), np.int32)
    labels[2:18, 5] = 1
    points = object_centres(labels, "binary")
    assert (labels[points[:, 1].astype(int), points[:, 0].astype(int)] == 1).all()


def test_every_class_has_points_to_aim_at_however_few_its_pixels():
    labels = np.ones((100, 100), np.int32)
    labels[3, 4] = 2
    points = object_centres(labels, "classes")
    assert [4.0, 3.0] in points.tolist()
    assert len(points) < 100
