"""As much of ROS 2's Python packages as the sink uses, with the checks that the real ones make."""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

NOW_NS = 1_700_000_000_123_456_789


@dataclass
class Time:
    sec: int = 0
    nanosec: int = 0

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(value, int) or not 0 <= value < (2**31 if name == "sec" else 10**9):
            raise AssertionError(f"The '{name}' field must be an int in its range")
        super().__setattr__(name, value)


@dataclass
class Header:
    stamp: Time = field(default_factory=Time)
    frame_id: str = ""


class Message:
    """Like a generated message: it has slots, and checks what they are given."""

    __slots__ = ("_values",)
    fields: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def __init__(self, **values: Any) -> None:
        made = {name: array("B") if kind is array else kind() for name, kind in self.fields.items()}
        object.__setattr__(self, "_values", made)
        for name, value in values.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if type(value) is not self.fields[name]:
            raise AssertionError(f"The {name!r} field must be of type {self.fields[name].__name__!r}")
        if isinstance(value, array) and value.typecode != "B":
            raise AssertionError("The 'data' array.array() must have the type code of 'B'")
        self._values[name] = value


class Image(Message):
    fields = {  # noqa: RUF012
        "header": Header,
        "height": int,
        "width": int,
        "encoding": str,
        "is_bigendian": int,
        "step": int,
        "data": array,
    }


class CompressedImage(Message):
    fields = {"header": Header, "format": str, "data": array}  # noqa: RUF012


class String(Message):
    fields = {"data": str}  # noqa: RUF012


@dataclass
class Publisher:
    topic: str
    kind: type
    profile: Any
    subscribers: int = 0
    sent: list[Any] = field(default_factory=list)

    def publish(self, message: Any) -> None:
        if type(message) is not self.kind:
            raise TypeError("message of another type")
        self.sent.append(message)

    def get_subscription_count(self) -> int:
        return self.subscribers


@dataclass
class Node:
    name: str
    context: Any
    publishers: dict[str, Publisher] = field(default_factory=dict)
    destroyed: bool = False

    def create_publisher(self, kind: type, topic: str, profile: Any) -> Publisher:
        self.publishers[topic] = Publisher(topic, kind, profile)
        return self.publishers[topic]

    def get_clock(self) -> Node:
        return self

    def now(self) -> Node:
        return self

    @property
    def nanoseconds(self) -> int:
        return NOW_NS

    def to_msg(self) -> Time:
        return Time(NOW_NS // 10**9, NOW_NS % 10**9)

    def destroy_node(self) -> None:
        self.destroyed = True


class Context:
    running = False

    def try_shutdown(self) -> None:
        self.running = False


class Ros:
    """What was made: the test's view."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def init(self, *, context: Context, signal_handler_options: Any) -> None:
        if signal_handler_options != "NO":
            raise AssertionError("signals are the loop's")
        context.running = True

    def create_node(self, name: str, *, context: Context) -> Node:
        if not context.running:
            raise RuntimeError("rclpy.init() has not been called")
        self.nodes.append(Node(name, context))
        return self.nodes[-1]


def install(monkeypatch: pytest.MonkeyPatch) -> Ros:
    ros = Ros()

    class QoSProfile:
        def __init__(self, *, depth: int, reliability: str) -> None:
            self.depth, self.reliability = depth, reliability

    options = type("SignalHandlerOptions", (), {"NO": "NO"})
    policy = type("ReliabilityPolicy", (), {"BEST_EFFORT": "best effort"})
    for name, values in {
        "rclpy": {"Context": Context, "init": ros.init, "create_node": ros.create_node},
        "rclpy.qos": {"QoSProfile": QoSProfile, "ReliabilityPolicy": policy},
        "rclpy.signals": {"SignalHandlerOptions": options},
        "sensor_msgs": {},
        "sensor_msgs.msg": {"Image": Image, "CompressedImage": CompressedImage},
        "std_msgs": {},
        "std_msgs.msg": {"String": String},
    }.items():
        module = ModuleType(name)
        module.__dict__.update(values)
        monkeypatch.setitem(sys.modules, name, module)
    return ros
