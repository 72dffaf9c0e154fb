"""Listings, against a model: all keys sorted by their bytes, rolled up, cut into pages."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from appliance.model.errors import InvalidArgumentError
from appliance.model.names import key_bytes
from appliance.model.objects import ListPage, ListRequest
from appliance.plugin.check import expect
from appliance.plugin.check.trial import Trial

# Names whose order differs between bytes, code units, locales and a walk through directories ("a/" sorts between "a." and "a0").
NAMES = (
    "a", "a.", "a.b", "a/", "a/b", "a/b/c", "a/c", "a0", "aa", "A", "B/x", "b", "b/a/1", "b/a/2", "b/b", "b//c", "c//", "c d/e", "é/1",
    "z", "\uff5e", "\U0001f600", "\U0001f600/x", "x-1", "x/1", "x/1/2", "x0",
)  # fmt: skip
PREFIXES = ("", "a", "a/", "a/b", "b/", "b/a", "b//", "x", "x/", "zz", "\U0001f600")
MARKERS = (
    "",
    "a",
    "a.",
    "a/",
    "a/b",
    "a/bb",
    "a/zzz",
    "b/a/",
    "b/a/1",
    "c",
    "x/",
    "zzz",
    "\U0001f600/",
    "0",
)


def entries(keys: Iterable[str], prefix: str, delimiter: str, after: str) -> list[str]:
    """The model: keys and common prefixes that a listing has, in order.

    A common prefix is left out unless it is itself greater than the marker, as S3 documents for ListObjectsV2's StartAfter.
    """
    found = set()
    for key in keys:
        if key.startswith(prefix):
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            found.add(key if cut < 0 else key[: cut + len(delimiter)])
    after_bytes = key_bytes(after)
    return sorted((one for one in found if key_bytes(one) > after_bytes), key=key_bytes)


async def matches_a_sorted_model(trial: Trial) -> None:
    """Prefixes, start_after and page sizes, without a delimiter and with "/"."""
    await _fill(trial)
    for prefix, delimiter in itertools.product(PREFIXES, ("", "/")):
        for limit in (trial.random.choice((1, 2, 3)), trial.random.choice((7, 1000))):
            start_after = trial.random.choice(MARKERS)
            await _compare(trial, prefix, delimiter, start_after, limit)


async def takes_any_delimiter(trial: Trial) -> None:
    """Of one character or several, of any alphabet."""
    await _fill(trial)
    for delimiter in ("a", ".", "//", "/b", "é/", "\U0001f600", "none"):
        for prefix in ("", "a", "b/"):
            await _compare(trial, prefix, delimiter, "", trial.random.choice((2, 5, 1000)))


async def pages_by_marker_miss_nothing(trial: Trial) -> None:
    """A client that goes on after each page's `last` sees everything once."""
    keys = await _fill(trial)
    for delimiter, limit in itertools.product(("", "/"), (1, 3)):
        seen: list[str] = []
        last = ""
        while True:
            page = await _page(trial, trial.prefix, delimiter, last, limit)
            seen += _page_entries(page)
            if not page.continuation:
                break
            last = page.last
        expected = entries(keys, trial.prefix, delimiter, "")
        expect.equal(seen, expected, f"listed by marker, delimiter {delimiter!r}, limit {limit}")


async def of_nothing_is_empty(trial: Trial) -> None:
    """No objects, no match, or limit 0: an empty last page."""
    requests = [ListRequest(prefix=trial.key(prefix)) for prefix in ("", "none/")]
    for request in requests:
        page = await trial.backend.list_objects(trial.bucket, request)
        expect.equal(page, ListPage(), "a listing of nothing")
    await trial.put("a", b"1")
    request = ListRequest(prefix=trial.prefix, limit=0)
    page = await trial.backend.list_objects(trial.bucket, request)
    expect.equal(page, ListPage(), "a listing with limit 0")


async def ends_exactly_at_its_limit(trial: Trial) -> None:
    """A page that holds the very last entry has no continuation."""
    for name in ("a", "b/1", "b/2"):
        await trial.put(name, b"1")
    for delimiter, count in (("", 3), ("/", 2)):
        page = await _page(trial, trial.prefix, delimiter, "", count)
        expect.equal(len(_page_entries(page)), count, "entries of a full last page")
        expect.equal(page.continuation, "", "continuation of a full last page")


async def tells_sizes_and_etags(trial: Trial) -> None:
    """What a listing tells of an object agrees with head."""
    for number in range(5):
        await trial.put(f"k{number}", trial.data(number * 1000), metadata={"n": str(number)})
    for listed in await trial.infos():
        info = await trial.backend.head(trial.bucket, listed.key)
        expect.equal((listed.size, listed.etag), (info.size, info.etag), f"listed {listed.key!r}")
        difference_s = abs(listed.modified_ns - info.modified_ns) / 1e9
        expect.true(difference_s < 1, f"time listed of {listed.key!r} differs by {difference_s} s")


async def sees_every_change_at_once(trial: Trial) -> None:
    """A put is in the next listing and a delete is not, and with its last key a common prefix goes."""
    for step in range(3):
        await trial.put(f"d/{step}/x", b"1")
        await trial.put("e/f/g/h", b"1")
        expect.true(f"d/{step}/x" in await trial.names(), "a new object is not listed")
        page = await _page(trial, trial.prefix, "/", "", 1000)
        expect.equal(page.common_prefixes, (trial.key("d/"), trial.key("e/")), "common prefixes")
        await trial.delete("e/f/g/h")
        page = await _page(trial, trial.prefix, "/", "", 1000)
        expect.equal(page.common_prefixes, (trial.key("d/"),), "prefixes after the last key went")


async def goes_on_while_keys_change(trial: Trial) -> None:
    """Between pages, keys come and go, the page's last among them: the others are listed once each."""
    names = [f"k{number:02}" for number in range(0, 20, 2)]
    await trial.put_all(dict.fromkeys(names, b"1"))
    request = ListRequest(prefix=trial.prefix, limit=4)
    page = await trial.backend.list_objects(trial.bucket, request)
    await trial.delete("k06")  # the last one told
    await trial.delete("k08")  # the next one
    await trial.put("k01", b"before")
    await trial.put("k03", b"before")
    await trial.put("k11", b"after")
    rest = await _rest(trial, page, "", 4)
    expected = [trial.key(name) for name in ("k10", "k11", "k12", "k14", "k16", "k18")]
    expect.equal(rest, expected, "what was listed after the changes")


async def prefers_the_continuation(trial: Trial) -> None:
    """With a continuation, `start_after` no longer counts."""
    for name in ("a", "b", "c"):
        await trial.put(name, b"1")
    first = await _page(trial, trial.prefix, "", trial.key("a"), 1)
    expect.equal(_page_entries(first), [trial.key("b")], "first page after a")
    request = ListRequest(
        prefix=trial.prefix,
        start_after=trial.key("zzz"),
        continuation=first.continuation,
        limit=1,
    )
    second = await trial.backend.list_objects(trial.bucket, request)
    expect.equal(_page_entries(second), [trial.key("c")], "page of the continuation")


async def survives_forged_continuations(trial: Trial) -> None:
    """A token that no page gave is refused, or begins somewhere: nothing else happens, and no key of another prefix comes."""
    await trial.put("a", b"1")
    for token in ("x", "../..", "\0", "%%%", "é", "A" * 3000):
        request = ListRequest(prefix=trial.prefix, continuation=token)
        try:
            page = await trial.backend.list_objects(trial.bucket, request)
        except InvalidArgumentError:
            continue
        expect.true(set(_page_entries(page)) <= {trial.key("a")}, f"a page for {token[:9]!r}")


async def of_many_objects_is_complete(trial: Trial) -> None:
    """In a flat prefix and in many small ones."""
    names = [f"flat/{n:05}" for n in range(trial.allow.many // 2)]
    names += [f"tree/{n % 7}/{n % 3}/{n}" for n in range(trial.allow.many // 2)]
    trial.random.shuffle(names)
    await trial.put_all(dict.fromkeys(names, b""))
    expected = sorted(names, key=key_bytes)
    expect.equal(await trial.names(limit=50), expected, "names listed in pages of 50")
    page = await _page(trial, trial.key("tree/"), "/", "", 1000)
    prefixes = sorted(
        {trial.key(f"tree/{name.split('/')[1]}/") for name in names if name[0] == "t"}
    )
    expect.equal(list(page.common_prefixes), prefixes, "common prefixes of the tree")


async def _fill(trial: Trial) -> list[str]:
    names = [name for name in NAMES if not trial.allow.unstorable(trial.key(name))]
    await trial.put_all(dict.fromkeys(names, b"1"))
    return [trial.key(name) for name in names]


async def _compare(trial: Trial, prefix: str, delimiter: str, start_after: str, limit: int) -> None:
    keys = [trial.key(name) for name in NAMES if not trial.allow.unstorable(trial.key(name))]
    prefix = trial.key(prefix)
    # An empty marker is none; with a shared bucket, one below our prefix would skip nothing.
    after = trial.key(start_after) if start_after else ""
    page = await _page(trial, prefix, delimiter, after, limit)
    seen = _page_entries(page) + await _rest(trial, page, delimiter, limit, prefix)
    what = f"list prefix={prefix!r} delimiter={delimiter!r} start_after={after!r} limit={limit}"
    expect.equal(seen, entries(keys, prefix, delimiter, after), what)


async def _page(
    trial: Trial, prefix: str, delimiter: str, start_after: str, limit: int
) -> ListPage:
    request = ListRequest(prefix=prefix, delimiter=delimiter, start_after=start_after, limit=limit)
    return _sound(await trial.backend.list_objects(trial.bucket, request), limit)


async def _rest(
    trial: Trial, page: ListPage, delimiter: str, limit: int, prefix: str | None = None
) -> list[str]:
    """Entries of all pages after this one."""
    seen: list[str] = []
    while page.continuation:
        request = ListRequest(
            prefix=trial.prefix if prefix is None else prefix,
            delimiter=delimiter,
            continuation=page.continuation,
            limit=limit,
        )
        page = _sound(await trial.backend.list_objects(trial.bucket, request), limit)
        expect.true(_page_entries(page) or not page.continuation, "an empty page goes on")
        seen += _page_entries(page)
    return seen


def _sound(page: ListPage, limit: int) -> ListPage:
    """Expect what holds for each page by itself."""
    found = _page_entries(page)
    expect.true(len(found) <= limit, f"{len(found)} entries in a page of {limit}")
    keys = [info.key for info in page.objects]
    for part in (keys, list(page.common_prefixes)):
        expect.equal(part, sorted(part, key=key_bytes), "order within a page")
    expect.equal(page.last, found[-1] if found else "", "`last` of a page")
    return page


def _page_entries(page: ListPage) -> list[str]:
    keys = [info.key for info in page.objects]
    return sorted([*keys, *page.common_prefixes], key=key_bytes)


CHECKS = (
    matches_a_sorted_model,
    takes_any_delimiter,
    pages_by_marker_miss_nothing,
    of_nothing_is_empty,
    ends_exactly_at_its_limit,
    tells_sizes_and_etags,
    sees_every_change_at_once,
    goes_on_while_keys_change,
    prefers_the_continuation,
    survives_forged_continuations,
    of_many_objects_is_complete,
)
