"""Masks as ROS 2 messages, where ROS 2 is installed. None of this has run with a real ROS 2 yet."""

from __future__ import annotations

import json
import re
import time
from array import array
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeseg.errors import MissingExtraError, SinkError
from edgeseg.loop.sinks.address import Address, wants_model_size
from edgeseg.loop.sinks.base import Published

_JPEG_QUALITY = 80
_NODE = "edgeseg"


class RosSink:
    """Publishes ``sensor_msgs/Image`` (``mono8`` class ids) on ``TOPIC``, best effort, keeping the last.

    Beside it the overlay as ``sensor_msgs/CompressedImage`` (JPEG) on ``TOPIC/overlay/compressed``, drawn
    only while somebody has subscribed, and the stamp as JSON in a ``std_msgs/String`` on ``TOPIC/stamp``. An
    image message cannot say that it must not be acted on: of a mask that is not valid only the stamp is sent.

    ``header.stamp`` is when the frame was captured, in the node's ROS time.

    Args:
        topic: A topic's name.
        frame_id: The camera's coordinate frame.
        model_size: Send the mask at the model's size instead of the frame's.

    Raises:
        MissingExtraError: rclpy is not installed, or its environment was not sourced.
        SinkError: The name is no topic's, or ROS refuses it.
    """

    def __init__(self, topic: str, *, frame_id: str = "camera", model_size: bool = False) -> None:
        self.name = f"ros2://{topic.lstrip('/')}"
        self.output: Path | None = None
        self._frame_id = frame_id
        self._model_size = model_size
        self._context: Any = None
        if not re.fullmatch(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", topic, re.ASCII):
            raise self._error("a topic's name, as camera/mask", repr(topic), "Correct the name.")
        modules = _ros()
        self._image, self._compressed = (
            modules["sensor_msgs.msg"].Image,
            modules["sensor_msgs.msg"].CompressedImage,
        )
        self._string = modules["std_msgs.msg"].String
        try:
            self._start(topic, modules)
        # Its errors are of many kinds, of C libraries too: whichever it is, the text is what helps.
        except Exception as error:
            self.close()
            raise self._error("a ROS 2 node", str(error), "Check the ROS 2 environment.") from error

    @classmethod
    def open(cls, address: Address) -> RosSink:
        """Of ``ros2://TOPIC?frame_id=camera&mask=model``."""
        address.check_options(("frame_id", "mask"))
        frame_id = address.options.get("frame_id", "camera")
        return cls(address.place, frame_id=frame_id, model_size=wants_model_size(address))

    def write(self, published: Published) -> None:
        if self._context is None:
            return
        stamp = self._ros_time(published.segmentation.captured_ns)
        try:
            if published.segmentation.valid:
                self._masks.publish(self._mask_message(published, stamp))
            if self._overlays.get_subscription_count():
                self._overlays.publish(self._overlay_message(published, stamp))
            self._stamps.publish(self._string(data=json.dumps(published.describe(), ensure_ascii=False)))
        except Exception as error:
            raise self._error("a message that is sent", str(error), "Check the ROS 2 environment.") from error

    def finish(self, positions: int) -> None:
        """There is nothing to complete."""

    def close(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            if self._node is not None:
                self._node.destroy_node()
            context.try_shutdown()

    def _start(self, topic: str, modules: dict[str, Any]) -> None:
        rclpy, qos = modules["rclpy"], modules["rclpy.qos"]
        self._node: Any = None
        # A context of its own, and no signal handlers: how the process ends is the loop's business.
        self._context = rclpy.Context()
        none = modules["rclpy.signals"].SignalHandlerOptions.NO
        rclpy.init(context=self._context, signal_handler_options=none)
        self._node = rclpy.create_node(_NODE, context=self._context)
        profile = qos.QoSProfile(depth=1, reliability=qos.ReliabilityPolicy.BEST_EFFORT)
        publisher = self._node.create_publisher
        self._masks = publisher(self._image, topic, profile)
        self._overlays = publisher(self._compressed, f"{topic}/overlay/compressed", profile)
        self._stamps = publisher(self._string, f"{topic}/stamp", profile)

    def _ros_time(self, captured_ns: int) -> Any:
        """A moment of the monotonic clock in ROS time: as long ago in both."""
        now = self._node.get_clock().now()
        seconds, nanoseconds = divmod(now.nanoseconds - (time.monotonic_ns() - captured_ns), 10**9)
        stamp = now.to_msg()
        stamp.sec, stamp.nanosec = seconds, nanoseconds
        return stamp

    def _mask_message(self, published: Published, stamp: Any) -> Any:
        segmentation = published.segmentation
        mask = segmentation.model_mask if self._model_size else segmentation.mask
        message = self._image()
        self._head(message, stamp)
        message.height, message.width = mask.shape
        message.encoding, message.is_bigendian, message.step = "mono8", 0, mask.shape[1]
        # Of all sequences an array is the one that the message takes without looking at each byte.
        message.data = array("B", mask.tobytes())
        return message

    def _overlay_message(self, published: Published, stamp: Any) -> Any:
        message = self._compressed()
        self._head(message, stamp)
        message.format = "jpeg"
        bgr = np.asarray(cv2.cvtColor(published.picture(), cv2.COLOR_RGB2BGR), np.uint8)
        _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        message.data = array("B", encoded.tobytes())
        return message

    def _head(self, message: Any, stamp: Any) -> None:
        message.header.stamp, message.header.frame_id = stamp, self._frame_id

    def _error(self, expected: str, found: str, next_step: str) -> SinkError:
        return SinkError(self.name, expected=expected, found=found, next_step=next_step)


def _ros() -> dict[str, Any]:
    names = ("rclpy", "rclpy.qos", "rclpy.signals", "sensor_msgs.msg", "std_msgs.msg")
    try:
        return {name: import_module(name) for name in names}
    except ImportError as error:
        raise MissingExtraError(
            "--sink ros2://…",
            expected="ROS 2 (Humble or later) with its Python packages rclpy, sensor_msgs and std_msgs",
            found=str(error),
            next_step="Source its setup.bash; make the virtual environment with --system-site-packages.",
        ) from error
