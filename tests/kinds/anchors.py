#!/usr/bin/env python3
# Copyright 2025 Ida Example
# Licensed under the Apache License, Version 2.0
#
# Anchors and chains.
"""How ships stay where they are."""

import os


# Iron, not steel.
@rusty(
    after=5,
)
class Anchor(Thing):
    """Holds a ship."""

    weight = 3

    def drop(self, depth: int, *,
             slowly: bool = False) -> None:
        """Let it go, and the chain after it.

        The chain is five times as long as the water is deep, because an anchor holds
        only if it is pulled along the ground. In a storm it is seven times as long, and
        a second anchor is dropped from the other side of the bow, so that the ship does
        not swing. Nobody stands near the chain while it runs.
        """
        chain = f"""
def not_a_function():
class NotOne:
"""
        return chain

    async def weigh(self):
        """Pull it up again, which takes the whole crew and a song.

        If it does not come, the ship sails over it, and it is pulled from the other
        side. If it still does not come, the chain is cut and a buoy is tied to its end.
        """
        await self.crew.sing()


def main() -> None:
    Anchor().drop(3)


if __name__ == "__main__":
    main()
