"""The pure parts, against simple models."""

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cache.plan.blocks import BLOCK_BYTES, BlockMap
from appliance.cache.plan.fetch import Span, blocks_of, piece_blocks, plan_fetches
from appliance.cache.plan.pins import Pins
from appliance.cache.plan.readahead import WINDOW_BYTES_MAX, WINDOW_BYTES_MIN, ReadAhead
from appliance.cache.plan.s3fifo import S3Fifo
from appliance.cache.plan.watermarks import Watermarks

MIB = 1 << 20

sizes = st.one_of(
    st.integers(0, 3 * BLOCK_BYTES), st.integers(0, 40).map(lambda count: count * BLOCK_BYTES)
)


# --- blocks ------------------------------------------------------------------------------


@given(sizes, st.data())
def test_a_block_map_is_a_set_of_blocks_with_checksums(size, data):
    blocks = BlockMap(size)
    model = {}
    for _ in range(data.draw(st.integers(0, 20)) if blocks.count else 0):
        index = data.draw(st.integers(0, blocks.count - 1))
        if data.draw(st.booleans()):
            model[index] = crc = data.draw(st.integers(0, 2**32 - 1))
            blocks.add(index, crc)
        else:
            model.pop(index, None)
            blocks.discard(index)
    assert dict(blocks.present()) == model
    assert blocks.filled == len(model)
    assert blocks.complete == (len(model) == blocks.count)
    assert blocks.present_bytes == sum(blocks.span(index)[1] for index in model)
    copy = BlockMap.from_bytes(blocks.to_bytes(), size)
    assert copy is not None
    assert dict(copy.present()) == model
    assert copy.filled == blocks.filled


@given(sizes, st.data())
def test_contiguous_and_missing_agree_with_looking_at_each_block(size, data):
    blocks = BlockMap(size)
    for index in (
        data.draw(st.sets(st.integers(0, max(0, blocks.count - 1)))) if blocks.count else ()
    ):
        blocks.add(index, 0)
    offset = data.draw(st.integers(0, size))
    length = data.draw(st.integers(0, size - offset))
    expected = 0
    while expected < length and blocks.has((offset + expected) // BLOCK_BYTES):
        block = (offset + expected) // BLOCK_BYTES
        expected = min(length, (block + 1) * BLOCK_BYTES - offset)
    assert blocks.contiguous(offset, length) == expected
    runs = list(blocks.missing(0, blocks.count))
    assert [i for first, last in runs for i in range(first, last)] == [
        i for i in range(blocks.count) if not blocks.has(i)
    ]


@given(st.integers(1, 3 * BLOCK_BYTES), st.data())
def test_a_damaged_or_foreign_sidecar_is_refused(size, data):
    blocks = BlockMap(size)
    blocks.add(0, 7)
    raw = bytearray(blocks.to_bytes())
    assert BlockMap.from_bytes(bytes(raw), size + BLOCK_BYTES) is None
    assert BlockMap.from_bytes(bytes(raw[:-1]), size) is None
    assert BlockMap.from_bytes(b"", size) is None
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    assert BlockMap.from_bytes(bytes(raw), size) is None


# --- fetch planning --------------------------------------------------------------------------


@given(st.integers(1, 60), st.data())
def test_a_plan_fetches_each_missing_block_once_and_no_other(count, data):
    indexes = st.integers(0, count - 1)
    blocks = BlockMap(count * BLOCK_BYTES)
    for index in data.draw(st.sets(indexes)):
        blocks.add(index, 0)
    flying = [
        Span(first, min(count, first + length))
        for first, length in data.draw(st.lists(st.tuples(indexes, st.integers(1, 9)), max_size=4))
    ]
    first = data.draw(indexes)
    wanted = Span(first, data.draw(st.integers(first, count)))
    limit = data.draw(st.integers(1, 8))
    spans = plan_fetches(wanted, blocks, flying, limit=limit)
    everything = plan_fetches(wanted, blocks, flying, limit=1000)
    assert spans == everything[:limit]
    fetched = [index for span in everything for index in range(span.first, span.last)]
    in_air = {index for span in flying for index in range(span.first, span.last)}
    assert fetched == [
        index
        for index in range(wanted.first, wanted.last)
        if not blocks.has(index) and index not in in_air
    ]
    assert all(0 < span.last - span.first <= piece_blocks(wanted) for span in everything)


@pytest.mark.parametrize(("blocks", "piece"), [(1, 8), (32, 8), (64, 16), (1000, 32)])
def test_long_reads_are_cut_into_larger_pieces(blocks, piece):
    assert piece_blocks(Span(0, blocks)) == piece


def test_blocks_of_a_range_are_those_it_touches():
    assert blocks_of(0, 1) == Span(0, 1)
    assert blocks_of(BLOCK_BYTES - 1, 2) == Span(0, 2)
    assert blocks_of(BLOCK_BYTES, BLOCK_BYTES) == Span(1, 2)


# --- read-ahead --------------------------------------------------------------------------------


def test_the_window_doubles_while_reading_on_and_collapses_on_a_seek():
    ahead = ReadAhead()
    windows = [ahead.advance(offset, 128 * 1024) for offset in range(0, 200 * MIB, 128 * 1024)]
    assert windows[0] == WINDOW_BYTES_MIN
    assert windows[-1] == WINDOW_BYTES_MAX
    assert sorted(windows) == windows
    assert set(windows) == {MIB << n for n in range(7)}
    assert ahead.advance(900 * MIB, 4096) == 0
    assert ahead.advance(900 * MIB + 4096, 4096) == WINDOW_BYTES_MIN


@given(st.lists(st.integers(0, 1000), unique=True, min_size=2, max_size=30))
def test_random_reads_are_never_read_ahead_of(places):
    ahead = ReadAhead()
    previous = 0
    for place in places:
        offset = (place + 1) * 16 * MIB
        assert ahead.advance(offset, 4096) == 0
        assert ahead.advance(offset, 4096) == 0  # asked again while waiting
        previous = offset
    assert previous > 0


def test_reading_on_within_one_request_is_not_reading_ahead_of_it():
    ahead = ReadAhead()
    for step in range(8):
        assert ahead.advance(500 * MIB + step * MIB, (8 - step) * MIB) == 0
    assert ahead.advance(508 * MIB, MIB) > 0


def test_a_limit_of_zero_turns_read_ahead_off():
    ahead = ReadAhead(0)
    assert [ahead.advance(offset, MIB) for offset in range(0, 8 * MIB, MIB)] == [0] * 8


# --- S3-FIFO -------------------------------------------------------------------------------------

names = st.integers(0, 30).map(lambda number: ("b", str(number)))
operations = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), names, st.integers(0, 50)),
        st.tuples(st.just("use"), names, st.just(0)),
        st.tuples(st.just("resize"), names, st.integers(0, 50)),
        st.tuples(st.just("discard"), names, st.just(0)),
        st.tuples(st.just("evict"), names, st.just(0)),
    ),
    max_size=80,
)


@given(operations, st.sets(names, max_size=5))
def test_the_queues_hold_what_was_inserted_and_count_its_bytes(steps, exempt):
    queues = S3Fifo(200)
    model = {}
    for op, name, size in steps:
        if op == "insert":
            queues.insert(name, size)
            model[name] = size
        elif op == "use" and (node := queues.get(name)) is not None:
            node.frequency = min(3, node.frequency + 1)
        elif op == "resize":
            queues.resize(name, size)
            if name in model:
                model[name] = size
        elif op == "discard":
            queues.discard(name)
            model.pop(name, None)
        elif op == "evict":
            victim = queues.evict(exempt.__contains__)
            if victim is None:
                assert set(model) <= exempt
            else:
                assert victim.name not in exempt
                assert model.pop(victim.name) == victim.size
        assert {node.name: node.size for node in queues} == model
        assert queues.used_bytes == sum(model.values())
        assert len(queues) == len(model)
        assert all(name in queues for name in model)
        statistics = queues.statistics()
        assert statistics["small_bytes"] + statistics["main_bytes"] == sum(model.values())


def replay(trace, capacity):
    """Hits of a cache of `capacity` unit-size objects."""
    queues, hits = S3Fifo(capacity), 0
    for key in trace:
        node = queues.get(("b", key))
        if node is not None:
            hits += 1
            node.frequency = min(3, node.frequency + 1)
            continue
        while queues.used_bytes >= capacity:
            assert queues.evict(lambda _name: False)
        queues.insert(("b", key), 1)
    return hits


def replay_lru(trace, capacity):
    cache, hits = OrderedDict(), 0
    for key in trace:
        if key in cache:
            hits += 1
            cache.move_to_end(key)
            continue
        if len(cache) >= capacity:
            cache.popitem(last=False)
        cache[key] = None
    return hits


def test_a_scan_larger_than_the_disk_does_not_flush_the_working_set():
    hot = [f"hot{number}" for number in range(60)]
    scan = [f"scan{number}" for number in range(1000)]
    trace = [*(hot * 3), *scan, *hot]
    assert replay(trace, 100) == 2 * 60 + 60
    assert replay_lru(trace, 100) == 2 * 60


def test_a_name_that_comes_back_soon_after_its_eviction_is_kept():
    queues = S3Fifo(100)
    for number in range(100):
        queues.insert(("b", str(number)), 1)
    assert queues.evict(lambda _name: False).name == ("b", "0")
    queues.insert(("b", "0"), 1)
    assert queues.statistics()["main_objects"] == 1


def test_a_saved_frequency_puts_an_object_into_main():
    queues = S3Fifo(100)
    queues.insert(("b", "used"), 1, frequency=2)
    queues.insert(("b", "new"), 1)
    assert queues.statistics()["main_objects"] == 1


# --- watermarks and pins -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "free", "evict"),
    [
        (0, 1000, 0),
        (95, 1000, 0),
        (96, 1000, 6),
        (150, 1000, 60),
        (50, 9, 3),
        (50, 0, 12),
        (5, 0, 5),
        (0, 0, 0),
        (100, 0, 12),
    ],
)
def test_eviction_is_by_bytes_and_by_free_space(used, free, evict):
    marks = Watermarks.of(100, 1000, min_free_bytes=10)
    assert marks.to_evict(used, free) == evict


def test_what_stays_free_is_at_most_a_quarter_of_the_filesystem():
    assert Watermarks.of(100, 1000, min_free_bytes=10**9).free_bytes_min == 250
    assert Watermarks.of(100, 1000).free_bytes_min == 50


def test_pins_cover_keys_prefixes_and_buckets():
    pins = Pins([("a", "key"), ("a", "dir/"), ("b", "")])
    assert len(pins) == 3
    assert pins.cover("a", "key")
    assert not pins.cover("a", "key2")
    assert pins.cover("a", "dir/x")
    assert not pins.cover("a", "di")
    assert pins.cover("b", "anything")
    pins.discard("b", "")
    pins.discard("c", "never")
    assert not pins.cover("b", "anything")
