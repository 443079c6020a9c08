"""An RTSP camera on loopback, for tests; it runs under the system's Python, which has PyGObject.

    python3 tests/rtsp_server.py [--port PORT] [--size WIDTHxHEIGHT] [--fps FPS]

It prints the port on which it listens, and serves rtsp://127.0.0.1:PORT/camera until it is killed. It exits
with 77, saying why, where GStreamer's RTSP server is not installed.
"""

from __future__ import annotations

import argparse
import sys

PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
MISSING = 77


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--port", default="0")
    options.add_argument("--size", default="320x240")
    options.add_argument("--fps", type=int, default=25)
    chosen = options.parse_args()
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstRtspServer", "1.0")
        from gi.repository import GLib, Gst, GstRtspServer
    except (ImportError, ValueError) as error:
        sys.stderr.write(f"{error}; apt install {PACKAGES}\n")
        sys.exit(MISSING)
    Gst.init(None)
    width, height = chosen.size.split("x")
    # H.264 where its encoder is (gstreamer1.0-plugins-ugly), as road cameras send it; else JPEG.
    if Gst.ElementFactory.find("x264enc"):
        encoder = (
            "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay config-interval=1"
        )
    else:
        encoder = "jpegenc ! rtpjpegpay"
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        "( videotestsrc is-live=true pattern=ball background-color=0xff203040 ! "
        f"video/x-raw,format=I420,width={width},height={height},framerate={chosen.fps}/1 ! "
        f"{encoder} name=pay0 pt=96 )"
    )
    factory.set_shared(True)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(chosen.port)
    server.get_mount_points().add_factory("/camera", factory)
    if not server.attach(None):
        sys.exit(f"port {chosen.port} on 127.0.0.1 is taken")
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
