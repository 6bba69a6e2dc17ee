"""socklb/agent/answers.py: who may ask."""

import asyncio
import os
import stat
from pathlib import Path

from socklb.agent.answers import Answers


def test_nobody_but_the_owner_may_ask_whatever_the_umask(tmp_path: Path) -> None:
    async def served_with_this_mode(mode: int) -> None:
        path = tmp_path / "agent.sock"
        serving = asyncio.create_task(Answers(path, {}, {}).serve())
        try:
            async with asyncio.timeout(20):
                while not path.exists() or stat.S_IMODE(path.stat().st_mode) != mode:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    before = os.umask(0)
    try:
        asyncio.run(served_with_this_mode(0o600))
    finally:
        os.umask(before)
