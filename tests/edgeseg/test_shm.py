"""Masks in shared memory are read whole, by other processes and in C; that a writer is gone shows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import SinkError, SourceError
from edgeseg.loop.sinks import ShmSink, open_sink
from edgeseg.loop.sinks.shm import path_of, remove_stale
from edgeseg.loop.sinks.shm_layout import FOLDER, HEADER, SLOT
from edgeseg.loop.sinks.shm_reader import MaskReader
from toy_masks import DIGEST, LABELS, published

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs /dev/shm")
TESTS = Path(__file__).parents[1]
READER = """
import sys
from edgeseg.loop.sinks.shm_reader import MaskReader
with MaskReader(sys.argv[1]) as reader:
    print("ready", flush=True)
    seen = []
    while not seen or seen[-1] < 1000:
        found = reader.read()
        if found is None:
            continue
        if not (found.mask == found.sequence % 251).all():
            sys.exit(f"torn: {found.sequence}")
        if seen and found.sequence < seen[-1]:
            sys.exit(f"backwards: {seen[-1]} to {found.sequence}")
        if not seen or found.sequence != seen[-1]:
            seen.append(found.sequence)
print(len(seen))
"""
C_READER = r"""
#include "edgeseg_mask.h"
#include <stdlib.h>
int main(int argc, char **argv) {
    static uint8_t ids[1 << 20];
    edgeseg_mask_reader reader;
    edgeseg_mask mask;
    uint64_t last = 0;
    int rounds = atoi(argv[2]), result = edgeseg_mask_open(&reader, argv[1]);
    if (result != EDGESEG_MASK_OK) return printf("open %d\n", result), 1;
    if (edgeseg_mask_read(&reader, &mask, ids, 1) != EDGESEG_MASK_TOO_SMALL) return printf("size\n"), 1;
    do {
        result = edgeseg_mask_read(&reader, &mask, ids, sizeof ids);
        if (result != EDGESEG_MASK_OK) return printf("read %d\n", result), 1;
        for (size_t i = 0; i < (size_t)mask.width * mask.height; i++)
            if (ids[i] != mask.sequence % 251) return printf("torn\n"), 1;
        if (mask.sequence < last) return printf("backwards\n"), 1;
        last = mask.sequence;
    } while (rounds && last < (uint64_t)rounds);
    printf("%d %d %d %d %d %d %d %02x %s %s %d %d\n", (int)mask.sequence, (int)mask.epoch, (int)mask.width,
        (int)mask.height, (int)mask.state, mask.valid, mask.late, mask.digest[31],
        edgeseg_mask_class_name(&reader, 2), edgeseg_mask_class_name(&reader, 3) ? "more" : "end",
        edgeseg_mask_heartbeat_age_ns(&reader) < 60000000000, edgeseg_mask_closed(&reader));
    edgeseg_mask_close(&reader);
    return 0;
}
"""


@pytest.fixture
def name() -> Iterator[str]:
    name = f"edgeseg-test-{uuid.uuid4().hex[:8]}"
    yield name
    for path in FOLDER.glob(f"*{name}*"):
        path.unlink()


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, cwd=TESTS
    )


def test_a_mask_and_its_stamp(name: str) -> None:
    sink = open_sink(f"shm://{name}", 25)
    with MaskReader(name) as reader:
        assert reader.read() is None
        assert reader.class_names == ()
        mask = published(7, size=(6, 9), epoch=3, clock="driver", state="DEGRADED", late=True, valid=False)
        sink.write(mask)
        found = reader.read()
        assert found is not None
        np.testing.assert_array_equal(found.mask, mask.segmentation.mask)
        assert (found.sequence, found.epoch, found.clock, found.state) == (7, 3, "driver", "DEGRADED")
        assert (found.valid, found.late, found.digest) == (False, True, DIGEST)
        assert found.captured_ns == mask.segmentation.captured_ns
        assert found.published_ns - found.captured_ns == found.age_ns == 40_000_000
        assert reader.class_names == LABELS.names
        assert isinstance(sink, ShmSink)
        sink.event({"event": "state", "state": "FAILED", "reason": "no camera"})
        assert reader.state == "FAILED"
        assert reader.writer_alive
        assert reader.heartbeat_age_ms < 10_000
        sink.close()
        sink.close()
        assert not reader.writer_alive
    assert not path_of(name).exists()


def test_sizes_may_change_and_the_models_size_may_be_had(name: str) -> None:
    sink = open_sink(f"shm://{name}?mask=model", 25)
    with MaskReader(name) as reader:
        for sequence, size in enumerate(((8, 8), (480, 640), (2, 2)), 1):
            sink.write(published(sequence, size=size))
            found = reader.read()
            assert found is not None
            assert found.mask.shape == (size[0] // 2, size[1] // 2)
    sink.close()


def test_no_mask_is_torn_while_it_is_written(name: str) -> None:
    sink = ShmSink(name)
    sink.write(published(1, size=(240, 320), value=1))
    reader = start(READER, name)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    stop = threading.Timer(20, reader.kill)
    stop.start()
    sequence = 1
    while reader.poll() is None:
        sequence += 1
        sink.write(published(sequence, size=(240, 320), value=sequence % 251))
    stop.cancel()
    text = reader.stdout.read()
    assert reader.wait() == 0, text
    assert int(text) > 5
    sink.close()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_a_program_in_c(name: str, tmp_path: Path) -> None:
    header = files("edgeseg.loop.sinks") / "templates" / "edgeseg_mask.h"
    (tmp_path / "edgeseg_mask.h").write_text(header.read_text())
    (tmp_path / "reader.c").write_text(C_READER)
    flags = ["-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", "reader", "reader.c"], cwd=tmp_path, check=True)
    sink = ShmSink(name)
    sink.write(published(1, size=(240, 320), value=1, epoch=4, late=True))
    once = subprocess.run([tmp_path / "reader", name, "0"], capture_output=True, text=True)
    assert once.stdout == "1 4 320 240 1 1 1 ab tree end 1 0\n"
    reader = subprocess.Popen([tmp_path / "reader", name, "1000"], stdout=subprocess.PIPE, text=True)
    sequence = 1
    while reader.poll() is None:
        sequence += 1
        sink.write(published(sequence, size=(240, 320), value=sequence % 251))
    assert reader.wait() == 0, reader.communicate()[0]
    sink.close()


def test_the_c_header_has_the_same_layout(tmp_path: Path) -> None:
    header = (files("edgeseg.loop.sinks") / "templates" / "edgeseg_mask.h").read_text()
    for dtype, struct in ((HEADER, "edgeseg_mask_header"), (SLOT, "edgeseg_mask")):
        body = header[: header.index(f"}} {struct};")].rpartition("typedef struct {")[2]
        assert dtype.names is not None
        places = [
            body.index(f" {field}{'[' if field in ('magic', 'digest') else ';'}") for field in dtype.names
        ]
        assert places == sorted(places), struct


def test_a_second_live_writer_is_refused(name: str) -> None:
    with_first = ShmSink(name)
    for _ in range(2):
        with pytest.raises(SinkError, match="another process that writes there"):
            ShmSink(name)
    assert not remove_stale(name)
    with_first.close()
    ShmSink(name).close()


def test_what_a_killed_writer_leaves_is_taken_over(name: str) -> None:
    code = (
        "import sys, time; from edgeseg.loop.sinks import ShmSink; from toy_masks import published\n"
        "sink = ShmSink(sys.argv[1]); sink.write(published(5)); print('ready', flush=True); time.sleep(60)"
    )
    writer = start(code, name)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    with MaskReader(name) as reader:
        assert reader.writer_alive
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert not reader.writer_alive
        assert path_of(name).exists()
        found = reader.read()
        assert found is not None
        assert found.sequence == 5
        sink = ShmSink(name)
        assert reader._header["closed"], "who still reads the old segment is told"
    with MaskReader(name) as reader:
        assert reader.writer_alive
        assert reader.read() is None
    sink.close()


def test_what_is_not_ours_is_left_alone(name: str) -> None:
    path_of(name).write_bytes(b"x" * 100_000)
    with pytest.raises(SinkError, match="something else"):
        ShmSink(name)
    with pytest.raises(SourceError, match="layout"):
        MaskReader(name)
    path_of(name).write_bytes(b"x")
    with pytest.raises(SourceError, match="too short"):
        MaskReader(name)
    path_of(name).unlink()
    with pytest.raises(SourceError, match="--sink shm://"):
        MaskReader(name)


def test_shared_memory_that_is_full(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = ShmSink(name)

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SinkError, match="No space left"):
        sink.write(published(1))
    sink.close()
    with pytest.raises(SinkError, match="No space left"):
        ShmSink(name)
    assert not list(FOLDER.glob(f"*{name}*"))
