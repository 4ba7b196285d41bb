from behest_core.recording.gap import Gap


def test_what_was_dropped_is_told_once_by_reason():
    gap = Gap()
    gap.add(2, "BufferFull")
    gap.add(1, "TypeError")
    gap.add(1, "BufferFull")
    told = gap.take()
    assert told.dropped == {"BufferFull": 3, "TypeError": 1}
    assert told.first_at <= told.last_at
    assert (gap.take(), gap.total) == (None, 4)


def test_what_could_not_be_told_is_told_with_what_came_since():
    gap = Gap()
    gap.add(2, "BufferFull")
    lost = gap.take()
    gap.add(1, "BufferFull")
    gap.take_back(lost)
    told = gap.take()
    assert (told.dropped, told.first_at) == ({"BufferFull": 3}, lost.first_at)
    assert told.last_at >= lost.last_at
    assert gap.total == 3


def test_reasons_are_bounded():
    gap = Gap()
    for n in range(50):
        gap.add(1, f"Error{n}")
    told = gap.take()
    assert (len(told.dropped), told.dropped["others"], gap.total) == (21, 30, 50)
