import pytest

from behest_core.recording.failures import causes_of, text_with_causes


def raised(act):
    """Return what is raised."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 (whatever it is)
        act()
    return caught.value


def while_handling(first, second, **how):
    def act():
        try:
            raise first
        except type(first):
            raise second  # noqa: B904 (that it has no cause is what is tested)

    def suppressed():
        try:
            raise first
        except type(first):
            raise second from None

    return raised(suppressed if how.get("suppressed") else act)


def caused(error, cause):
    error.__cause__ = cause
    return error


def test_an_exception_alone_is_its_class_and_message():
    assert text_with_causes(LookupError("no city")) == "LookupError: no city"
    assert text_with_causes(LookupError()) == "LookupError"


def test_what_caused_it_is_told_and_what_caused_that():
    error = caused(RuntimeError("agent"), caused(ValueError("tool"), OSError("network")))
    assert text_with_causes(error) == "RuntimeError: agent\ncaused by ValueError: tool\ncaused by OSError: network"


def test_what_was_being_handled_is_told_unless_it_is_suppressed():
    assert (
        text_with_causes(while_handling(KeyError("a"), ValueError("b")))
        == "ValueError: b\nwhile handling KeyError: 'a'"
    )
    assert text_with_causes(while_handling(KeyError("a"), ValueError("b"), suppressed=True)) == "ValueError: b"


def test_the_members_of_a_group_are_told_with_their_own_causes():
    inner = ExceptionGroup("inner", [caused(ValueError("a"), OSError("x"))])
    error = caused(ExceptionGroup("outer", [inner, KeyError("b")]), TimeoutError("t"))
    assert text_with_causes(error).split("\n") == [
        "ExceptionGroup: outer (2 sub-exceptions)",
        "  member: ExceptionGroup: inner (1 sub-exception)",
        "    member: ValueError: a",
        "    caused by OSError: x",
        "  member: KeyError: 'b'",
        "caused by TimeoutError: t",
    ]


def test_causes_that_go_round_in_a_circle_are_told_once():
    first, second = ValueError("a"), ValueError("b")
    assert text_with_causes(caused(first, caused(second, first))) == "ValueError: a\ncaused by ValueError: b"


def test_what_is_told_is_bounded():
    error = ExceptionGroup("many", [ExceptionGroup("x", [ValueError("a")] * 50) for _ in range(50)])
    chain = ValueError("0")
    for n in range(1, 500):
        chain = caused(ValueError(str(n)), chain)
    for each in (error, chain):
        lines = text_with_causes(each).split("\n")
        assert (len(lines), lines[-1]) == (21, "(and more)")


def test_one_that_cannot_tell_its_message_has_its_class():
    class Silent(Exception):  # noqa: N818 (the agent's own)
        def __str__(self):
            raise RuntimeError

    assert text_with_causes(caused(ValueError("a"), Silent())) == "ValueError: a\ncaused by Silent"


def test_an_exception_that_was_raised_again_as_a_copy_is_told_once():
    first = caused(PermissionError("no"), OSError("disk"))
    assert (
        text_with_causes(while_handling(first, PermissionError("no"))) == "PermissionError: no\ncaused by OSError: disk"
    )


def test_causes_as_a_list_are_the_texts_alone_and_bounded():
    assert causes_of(caused(RuntimeError("agent"), caused(ValueError("tool"), OSError("network")))) == [
        "ValueError: tool",
        "OSError: network",
    ]
    assert len(causes_of(ExceptionGroup("many", [ValueError(str(n)) for n in range(50)]))) == 8
