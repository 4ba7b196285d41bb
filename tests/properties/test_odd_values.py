"""Whatever an agent says can be stored, and what can be stored already stays as it is."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from behest_core.model.decoding import encode
from behest_core.model.record import check_record, encode_record
from behest_core.recording.recorder import new_record
from behest_core.recording.storable import as_json, mended_event, storable_record, whole

characters = st.one_of(st.characters(), st.sampled_from('\ud800\ud83d\ude00\udfff\x00"'))
texts = st.text(characters, max_size=8)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**37, max_value=10**40),
    st.floats(),
    texts,
    st.binary(max_size=4),
    st.builds(object),
    st.dates(),
)
keys = st.one_of(texts, st.integers(), st.none(), st.tuples(st.integers()))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.dictionaries(keys, inner, max_size=3),
        st.builds(list, inner.map(lambda each: [each])),
    ),
    max_leaves=20,
)


def deeper(value, levels):
    for _ in range(levels):
        value = {"a": [value]}
    return value


@given(values, st.integers(min_value=0, max_value=40))
def test_any_value_can_be_stored_as_metadata(value, levels):
    record, _ = storable_record(new_record(provider="p", model="m", metadata=deeper(value, levels)))
    check_record(record)
    encode_record(record)
    assert storable_record(record) == (record, [])


@given(values)
def test_any_value_can_be_in_an_event(value):
    event = {"type": "some.Thing", "timestamp": "2026-01-31T12:00:00Z", "value": value}
    encoded = encode(mended_event(event))
    assert msgspec.json.decode(encoded.raw)["value"] == as_json(value)


@given(st.lists(st.characters(), max_size=8).map("".join))
def test_a_text_is_the_same_however_its_pairs_are_cut(text):
    units = text.encode("utf-16-le", "surrogatepass")
    halves = "".join(units[n : n + 2].decode("utf-16-le", "surrogatepass") for n in range(0, len(units), 2))
    assert whole(halves) == whole(text)
