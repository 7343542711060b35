"""One resource per place and process: who makes it, who counts, when the next one is made."""

import gc

from zarrv3.forks import _renew
from zarrv3.store.sharing import Sharing


class Thing:
    """A resource, or a user of one."""


def test_one_per_place() -> None:
    """A place has one resource as long as a user keeps it."""
    sharing: Sharing[Thing] = Sharing()
    one, made = sharing.get_or_make("a", Thing)
    assert made
    assert sharing.get_or_make("a", Thing) == (one, False)
    other = Thing()
    sharing.add("b", other)
    assert (sharing.find("a"), sharing.find("b"), sharing.find("c")) == (one, other, None)
    assert {*sharing.every()} == {one, other}
    del one
    gc.collect()
    assert sharing.every() == [other]
    assert sharing.get_or_make("a", Thing)[1]


def test_the_last_user_counts() -> None:
    """Whoever releases a resource last is told so, once, and the next to come gets a new one; users that are gone do not count."""
    sharing: Sharing[Thing] = Sharing()
    resource, _ = sharing.get_or_make("a", Thing)
    first, second, gone = Thing(), Thing(), Thing()
    for user in (first, second, gone, first):
        sharing.use(resource, user)
    del gone, user
    gc.collect()
    assert not sharing.release(resource, first)
    assert not sharing.release(resource, first)
    assert sharing.release(resource, second)
    assert not sharing.release(resource, second)
    assert sharing.find("a") is None
    assert sharing.get_or_make("a", Thing)[1]


def test_a_forked_child_has_none() -> None:
    """A forked child begins without resources; what the parent had stays where it is."""
    sharing: Sharing[Thing] = Sharing()
    resource, _ = sharing.get_or_make("a", Thing)
    _renew()
    assert sharing.every() == []
    assert sharing.get_or_make("a", Thing)[0] is not resource
