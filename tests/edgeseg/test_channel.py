"""Newest wins, nothing is lost where nothing may be, and nobody waits for ever."""

from __future__ import annotations

import threading
import time

import pytest

from edgeseg.loop.channel import Channel, ChannelClosedError, Mailbox


def test_a_mailbox_keeps_the_newest() -> None:
    box: Mailbox[int] = Mailbox()
    for item in range(5):
        box.put(item)
    assert box.take() == 4
    assert box.take(timeout=0.01) is None


@pytest.mark.parametrize("channel", [Channel[int](2), Mailbox[int]()])
def test_what_is_in_it_outlives_its_closing(channel: Channel[int]) -> None:
    channel.put(1)
    channel.close()
    channel.close()
    assert channel.take() == 1
    with pytest.raises(ChannelClosedError):
        channel.take()
    with pytest.raises(ChannelClosedError):
        channel.put(2)


@pytest.mark.timeout(20)
def test_a_channel_waits_for_room_and_loses_nothing() -> None:
    channel: Channel[int] = Channel(2)
    thread = threading.Thread(target=lambda: [channel.put(i) for i in range(200)])
    thread.start()
    time.sleep(0.02)
    assert [channel.take() for _ in range(200)] == list(range(200))
    thread.join()


@pytest.mark.timeout(20)
def test_closing_wakes_those_who_wait() -> None:
    full, empty = Channel[int](1), Channel[int](1)
    full.put(0)
    woken = []

    def wait(action: object) -> None:
        try:
            action()  # type: ignore[operator]
        except ChannelClosedError:
            woken.append(True)

    threads = [
        threading.Thread(target=wait, args=(lambda: full.put(1),)),
        threading.Thread(target=wait, args=(empty.take,)),
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.02)
    full.close()
    empty.close()
    for thread in threads:
        thread.join()
    assert woken == [True, True]
