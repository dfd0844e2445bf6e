"""A stream of events reads the same however the network cuts it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall_client import UnreadableAnswer
from heimdall_client.server_events import LONGEST_FRAME_CHARS, Frame, FrameReader

BODY = (
    '\ufeffretry: 1500\r\n: comment\r\n\r\nid: evt_1\r\nevent: job.queued\r\ndata: {"a":\r\ndata: 1}\r\n\r\n'
    "data: né\n\nid: evt_3\rdata:no space\r\revent: dropped\n\ndata: cut off"
).encode()
FRAMES = [
    Frame(id="evt_1", event="job.queued", data='{"a":\n1}'),
    Frame(id="evt_1", event="message", data="né"),
    Frame(id="evt_3", event="message", data="no space"),
]


@given(st.lists(st.integers(0, len(BODY)), max_size=20))
def test_frames_do_not_depend_on_the_cuts(cuts):
    reader, places = FrameReader(), sorted({0, len(BODY), *cuts})
    pieces = [BODY[start:end] for start, end in pairwise(places)]
    assert [frame for piece in pieces for frame in reader.feed(piece)] == FRAMES
    assert reader.retry_seconds == 1.5


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(body):
    for frame in FrameReader().feed(body):
        assert frame.data is not None


def test_a_frame_without_end_does_not_fill_the_memory():
    reader, line = FrameReader(), b"data: " + b"x" * (LONGEST_FRAME_CHARS // 2) + b"\n"
    assert list(reader.feed(line)) == []
    with pytest.raises(UnreadableAnswer, match="without end"):
        list(reader.feed(line + line))
