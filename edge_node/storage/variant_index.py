"""Which variants of a target are stored (RFC 9111 section 4.1), and all the keys that a target has: for behaviors that follow the RFCs.

An entry that the store has evicted leaves a name here, until it is pushed out by others or found missing. An entry whose name is pushed out has to leave the store.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from edge_node.caching.key import CacheKey, primary_key, variant_key, varying_names
from edge_node.caching.vary import variant_of

MOST_TARGETS: Final = 65_536
MOST_KEYS_OF_A_TARGET: Final = 64
"""An origin that varies on what every viewer sends differently would fill the cache with one object: beyond so many variants the oldest is forgotten."""

Target = bytes
"""The first two lines of a key: distribution and keyed target."""


class VariantIndex:
    """Keys by target, newest first."""

    def __init__(self) -> None:
        self._keys: OrderedDict[Target, dict[CacheKey, tuple[bytes, ...]]] = OrderedDict()

    def add(self, key: CacheKey) -> tuple[CacheKey, ...]:
        """An entry was stored; answers with the keys that had to make room, whose entries have to go."""
        target = target_of_key(key)
        keys = self._keys.setdefault(target, {})
        self._keys.move_to_end(target)
        keys.pop(key, None)
        keys[key] = varying_names(key)
        pushed_out: list[CacheKey] = []
        if len(self._keys) > MOST_TARGETS:
            pushed_out += self._keys.popitem(last=False)[1]
        if len(keys) > MOST_KEYS_OF_A_TARGET:
            pushed_out.append(next(iter(keys)))
            del keys[pushed_out[-1]]
        return tuple(pushed_out)

    def candidates(self, primary: CacheKey, fields: Mapping[bytes, bytes]) -> list[CacheKey]:
        """The keys that may hold a response for this request, the one stored last first."""
        keys = self._keys.get(target_of_key(primary))
        if keys is None:
            return []
        found: list[CacheKey] = []
        for names in dict.fromkeys(reversed(keys.values())):
            key = variant_key(primary, tuple(zip(names, variant_of(names, fields), strict=True))) if names else primary
            if key in keys:
                found.append(key)
        return found

    def newest_names(self, key: CacheKey) -> tuple[bytes, ...]:
        """The fields that tell apart what was stored last for the target of a key."""
        keys = self._keys.get(target_of_key(key))
        return next(reversed(keys.values()), ()) if keys else ()

    def of_target(self, key: CacheKey) -> tuple[CacheKey, ...]:
        """All keys of the target of a key, whomever they are for, the one stored last first."""
        keys = self._keys.get(target_of_key(key))
        return () if keys is None else tuple(reversed(keys))

    def forget(self, key: CacheKey) -> None:
        """The entry of this key is gone."""
        target = target_of_key(key)
        keys = self._keys.get(target)
        if keys is not None and keys.pop(key, None) is not None and not keys:
            del self._keys[target]

    def forget_target(self, target: Target) -> tuple[CacheKey, ...]:
        """All keys of a target, which are forgotten."""
        return tuple(self._keys.pop(target, ()))

    def clear(self) -> None:
        """Nothing is stored any more."""
        self._keys.clear()


def target_of_key(key: CacheKey) -> Target:
    """What all variants of one URL share; GET and OPTIONS have their own."""
    return b"\n".join(primary_key(key).split(b"\n", 2)[:2])
