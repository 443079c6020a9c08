"""Masks and their stamps published through ZeroMQ, for programs of any language."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import MissingExtraError, SinkError
from edgeseg.loop.sinks.address import Address, host_and_port, wants_model_size, warn_of_network
from edgeseg.loop.sinks.base import Published

# Messages that wait for a subscriber who is slow, beyond what the system's own buffers hold.
_WAITING = 2


class ZmqSink:
    """A PUB socket. A mask is three parts: ``mask``, its metadata as JSON, the class ids row by row.

    An event of the loop is two: ``event`` and its JSON. A subscriber that is too slow loses messages, and
    nobody is waited for.

    Args:
        endpoint: As ZeroMQ writes it: ``tcp://127.0.0.1:5555`` (``*`` is any port) or ``ipc:///run/masks``.
        model_size: Send the mask at the model's size instead of the frame's.

    Raises:
        MissingExtraError: pyzmq is not installed.
        SinkError: The endpoint cannot be bound.
    """

    def __init__(self, endpoint: str, *, model_size: bool = False) -> None:
        try:
            import zmq
        except ImportError as error:
            raise MissingExtraError.of("--sink zmq://…", "pyzmq", "zmq") from error
        self.output: Path | None = None
        self._model_size = model_size
        self._zmq = zmq
        self._context: Any = zmq.Context(io_threads=1)
        self._socket: Any = self._context.socket(zmq.PUB)
        # Without lingering: what a dead subscriber did not take must not hold up the end.
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, _WAITING)
        self._socket.setsockopt(zmq.IPV6, 1)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise SinkError(
                f"--sink {endpoint}",
                expected="an endpoint that can be bound",
                found=str(error),
                next_step="Choose another port or path, or stop what uses it.",
            ) from error
        self.endpoint: str = bytes(self._socket.getsockopt(zmq.LAST_ENDPOINT)).rstrip(b"\0").decode()
        self.name = re.sub("^tcp", "zmq", re.sub("^ipc", "zmq+ipc", self.endpoint))

    @classmethod
    def open(cls, address: Address) -> ZmqSink:
        """Of ``zmq://HOST:PORT?mask=model`` or ``zmq+ipc://PATH``."""
        address.check_options(("mask",))
        model_size = wants_model_size(address)
        if address.scheme == "zmq+ipc":
            return cls(f"ipc://{address.place}", model_size=model_size)
        host, port = host_and_port(address)
        shown = f"[{host}]" if ":" in host else host
        sink = cls(f"tcp://{shown}:{port or '*'}", model_size=model_size)
        warn_of_network(sink.name, host)
        return sink

    def write(self, published: Published) -> None:
        segmentation = published.segmentation
        mask = segmentation.model_mask if self._model_size else segmentation.mask
        metadata = {
            **published.describe(),
            "shape": list(mask.shape),
            "dtype": "uint8",
            "labels": list(segmentation.labels.names),
        }
        # Contiguous, and copied by ZeroMQ before this returns: the loop uses the memory again.
        self._send([b"mask", _json(metadata), np.ascontiguousarray(mask)])

    def event(self, event: Mapping[str, Any]) -> None:
        self._send([b"event", _json(event)])

    def finish(self, positions: int) -> None:
        """There is nothing to complete."""

    def close(self) -> None:
        if not self._socket.closed:
            self._socket.close()
            self._context.term()

    def _send(self, parts: list[Any]) -> None:
        if self._socket.closed:
            return
        try:
            self._socket.send_multipart(parts, flags=self._zmq.NOBLOCK, copy=True)
        except self._zmq.Again:
            # A full queue is a slow subscriber's loss.
            return
        except self._zmq.ZMQError as error:
            raise SinkError(
                self.name,
                expected="a socket that can be written",
                found=str(error),
                next_step="Start the loop again.",
            ) from error


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False, default=str).encode()
