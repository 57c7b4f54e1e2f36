"""What the last applied state looked like from outside: the raw fingerprint of each record.

Two flat arrays, sorted by fingerprint and searched by bisection, keep 100,000 records in 2 MB, where a set of bytes
objects takes 17 MB. Eight of a fingerprint's sixteen bytes are kept: that a changed record meets another's eight bytes
among a million is a chance of one in 2**44.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator

from integrations.models import Stream

_PREFIX_BYTES = 8
_CHUNK = 5_000


class KnownRecords:
    """The records of a stream's last applied state, and how often each has been seen in this run."""

    def __init__(self) -> None:
        self._prefixes = array("Q")
        self._link_ids = array("q")
        self._times_seen = array("L")
        self._touched: Collection[int] = ()
        self.is_loaded = False

    @classmethod
    def of(cls, stream: Stream, mapping_version: str, touched: Collection[int] = ()) -> KnownRecords:
        """Load what is known of `stream`: nothing when it was read with another mapping, and nothing of the links in
        `touched`, which somebody has edited since."""
        known = cls()
        if stream.known_with != mapping_version:
            return known
        links = stream.links.exclude(raw_fingerprint=b"").order_by("raw_fingerprint")
        for fingerprint, link_id in links.values_list("raw_fingerprint", "id").iterator(chunk_size=_CHUNK):
            if link_id in touched:
                continue
            known._prefixes.append(_prefix(bytes(fingerprint)))
            known._link_ids.append(link_id)
        known._times_seen.extend([0] * len(known._prefixes))
        known._touched = touched
        known.is_loaded = True
        return known

    def see(self, fingerprint: bytes) -> int:
        """Note that a record with this fingerprint came. Returns how often by now: 0 when it is not known."""
        place = self._find(fingerprint)
        if place is None:
            return 0
        self._times_seen[place] += 1
        return self._times_seen[place]

    def times_seen(self, fingerprint: bytes) -> int:
        """How often a record with this fingerprint has come in this run."""
        place = self._find(fingerprint)
        return 0 if place is None else self._times_seen[place]

    def seen_ids(self) -> Iterator[int]:
        """The links of known records that have come in their known form."""
        return (link_id for link_id, times in zip(self._link_ids, self._times_seen, strict=True) if times)

    def unseen_ids(self) -> Iterator[int]:
        """The links of records that have not come in their known form: it is for their keys to say whether they came."""
        yield from self._touched
        yield from (
            link_id for link_id, times in zip(self._link_ids, self._times_seen, strict=True) if not times
        )

    def copies(self) -> Iterator[tuple[int, int]]:
        """The links of records that came more than once, with how many times too often."""
        pairs = zip(self._link_ids, self._times_seen, strict=True)
        return ((link_id, times - 1) for link_id, times in pairs if times > 1)

    def _find(self, fingerprint: bytes) -> int | None:
        prefix = _prefix(fingerprint)
        place = bisect_left(self._prefixes, prefix)
        return place if place < len(self._prefixes) and self._prefixes[place] == prefix else None


def _prefix(fingerprint: bytes) -> int:
    return int.from_bytes(fingerprint[:_PREFIX_BYTES], "big")
