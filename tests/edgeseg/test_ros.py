"""What would be sent to ROS 2, held against a stand-in for its packages: no real one was at hand."""

from __future__ import annotations

import json
import sys

import cv2
import numpy as np
import pytest

import fake_ros
from edgeseg.errors import MissingExtraError, SinkError
from edgeseg.loop.sinks import open_sink
from toy_masks import published


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch) -> fake_ros.Ros:
    return fake_ros.install(monkeypatch)


def test_a_mask_is_an_image_of_its_ids(ros: fake_ros.Ros) -> None:
    sink = open_sink("ros2://camera/mask?frame_id=front", 25)
    mask = published(3, age_ms=250.0)
    sink.write(mask)
    (node,) = ros.nodes
    publisher = node.publishers["camera/mask"]
    assert (publisher.profile.depth, publisher.profile.reliability) == (1, "best effort")
    (image,) = publisher.sent
    assert (image.encoding, image.height, image.width, image.step) == ("mono8", 64, 96, 96)
    np.testing.assert_array_equal(np.frombuffer(image.data, np.uint8).reshape(64, 96), mask.segmentation.mask)
    assert image.header.frame_id == "front"
    age_ns = fake_ros.NOW_NS - (image.header.stamp.sec * 10**9 + image.header.stamp.nanosec)
    assert 250e6 <= age_ns < 10e9, "captured as long ago in ROS time"
    (stamp,) = node.publishers["camera/mask/stamp"].sent
    assert json.loads(stamp.data)["sequence"] == 3
    assert node.publishers["camera/mask/overlay/compressed"].sent == []
    sink.close()
    sink.close()
    assert node.destroyed
    assert not node.context.running


def test_the_overlay_is_drawn_for_who_subscribes(ros: fake_ros.Ros) -> None:
    sink = open_sink("ros2://mask?mask=model", 25)
    overlays = ros.nodes[0].publishers["mask/overlay/compressed"]
    overlays.subscribers = 1
    sink.write(published(1))
    (overlay,) = overlays.sent
    assert overlay.format == "jpeg"
    assert cv2.imdecode(np.frombuffer(overlay.data, np.uint8), cv2.IMREAD_COLOR).shape == (64, 96, 3)
    assert ros.nodes[0].publishers["mask"].sent[0].height == 32


def test_of_a_mask_that_is_not_valid_only_the_stamp_is_sent(ros: fake_ros.Ros) -> None:
    sink = open_sink("ros2://mask", 25)
    sink.write(published(1, valid=False))
    assert ros.nodes[0].publishers["mask"].sent == []
    assert json.loads(ros.nodes[0].publishers["mask/stamp"].sent[0].data)["valid"] is False


def test_names_that_are_no_topic(ros: fake_ros.Ros) -> None:
    for name in ("", "1mask", "a//b", "a b", "a/"):
        with pytest.raises(SinkError, match="topic"):
            open_sink(f"ros2://{name}", 25)
    assert ros.nodes == []


def test_what_ros_refuses_is_an_error(ros: fake_ros.Ros, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("failed to initialize the middleware")

    monkeypatch.setattr(sys.modules["rclpy"], "init", broken)
    with pytest.raises(SinkError, match="middleware"):
        open_sink("ros2://mask", 25)


def test_without_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rclpy", None)
    with pytest.raises(MissingExtraError, match=r"setup\.bash"):
        open_sink("ros2://mask", 25)
