"""The real engine in its child process, on the smallest of the demonstration's models."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import psutil
import pytest

from ecluse.adapters.upstreams.llama_cpp.engine import (
    LONGEST_PAUSE_S,
    Address,
    Engine,
    EngineSettings,
)
from ecluse.demonstration import ladder
from ecluse.domain.errors import UpstreamUnreachable

RUNG = ladder.rungs()[0]
SETTINGS = EngineSettings(RUNG.path, "tiny", RUNG.context_tokens, parallel=2, threads=1)
PATIENCE_S = 60.0

PARENT = """\
import asyncio, sys
from pathlib import Path
from ecluse.adapters.upstreams.llama_cpp.engine import Engine, EngineSettings

async def main():
    engine = Engine(EngineSettings(Path(sys.argv[1]), "tiny", 256, threads=1))
    starting = asyncio.create_task(engine.address())
    while engine.pid is None:
        await asyncio.sleep(0.01)
    if sys.argv[2] == "loaded":
        await starting
    else:
        await asyncio.sleep(1)
    print(engine.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@asynccontextmanager
async def stopped_in_the_end(engine: Engine) -> AsyncIterator[Engine]:
    """The engine; whatever happens its child ends."""
    try:
        yield engine
    finally:
        await engine.stop()


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """An engine that has not been started."""
    async with stopped_in_the_end(Engine(SETTINGS)) as made:
        yield made


async def ask(address: Address) -> str:
    """One short answer of the child."""
    question = {
        "model": "tiny",
        "max_tokens": 40,
        "messages": [{"role": "user", "content": "add 47 38"}],
    }
    headers = {"authorization": f"Bearer {address.key}"}
    url = f"{address.url}/v1/chat/completions"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=question) as response,
    ):
        assert response.status == 200
        answer = await response.json()
        return str(answer["choices"][0]["message"]["content"])


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds. Fails when it takes too long."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - nothing tells of another process
            await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether a process is no more; one that nobody has buried yet counts as gone."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def living_pid(engine: Engine) -> int:
    """The child's process id."""
    assert engine.pid is not None
    return engine.pid


async def kill(engine: Engine) -> None:
    """End the child as a crash would, and wait until it was noticed."""
    pid = living_pid(engine)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: engine.pid != pid)


async def test_concurrent_callers_share_one_start(engine: Engine) -> None:
    """Ten callers at once get the same child, which answers, and only with its key."""
    addresses = await asyncio.gather(*(engine.address() for _ in range(10)))
    assert len(set(addresses)) == 1
    assert len(psutil.Process().children()) == 1
    assert await ask(addresses[0])
    async with aiohttp.ClientSession() as session:
        url = f"{addresses[0].url}/v1/chat/completions"
        async with session.post(url, json={"messages": []}) as refused:
            assert refused.status == 401


async def test_a_caller_who_leaves_stops_nobody(engine: Engine) -> None:
    """The start goes on for the others when the first one to ask gives up."""
    first = asyncio.create_task(engine.address())
    second = asyncio.create_task(engine.address())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == await engine.address()


async def test_a_killed_child_is_noticed_and_replaced(engine: Engine) -> None:
    """After kill -9 the next call starts another child, with another address."""
    first = await engine.address()
    pid = living_pid(engine)
    await kill(engine)
    second = await engine.address()
    assert second.key != first.key
    assert engine.pid not in (None, pid)
    assert await ask(second)


async def test_cpu_seconds_only_grow(engine: Engine) -> None:
    """Answers cost processor time, and what a dead child had used is not forgotten."""
    assert engine.cpu_seconds() == 0.0
    address = await engine.address()
    before = engine.cpu_seconds()
    assert before > 0
    assert engine.resident_bytes() > 1_000_000
    await asyncio.gather(*(ask(address) for _ in range(20)))
    used = engine.cpu_seconds()
    assert used > before
    await kill(engine)
    assert engine.cpu_seconds() >= used
    assert engine.resident_bytes() == 0


async def test_the_reason_is_the_engines_own(tmp_path: Path) -> None:
    """A file cut short is told in the words of llama.cpp's log, not as a wrong setting."""
    file = tmp_path / "short.gguf"
    file.write_bytes(RUNG.path.read_bytes()[:30_000])
    async with stopped_in_the_end(Engine(EngineSettings(file, "short", 256, threads=1))) as engine:
        with pytest.raises(UpstreamUnreachable, match="corrupted or incomplete"):
            await engine.address()


@pytest.mark.parametrize("content", [b"GGUF\x03\0\0\0 and nothing more", b"", None])
async def test_a_file_that_does_not_load_is_a_sentence(
    tmp_path: Path, content: bytes | None
) -> None:
    """A broken and a missing file are told by name, without the folder, and tried once."""
    file = tmp_path / "broken.gguf"
    if content is not None:
        file.write_bytes(content)
    async with stopped_in_the_end(Engine(EngineSettings(file, "broken", 256, threads=1))) as engine:
        told = []
        for _ in range(2):
            with pytest.raises(
                UpstreamUnreachable, match=r"of broken does not start: ."
            ) as refused:
                await engine.address()
            assert engine.pid is None
            told.append(refused.value)
        assert told[0].message == told[1].message
        assert told[1].retry_after_s == LONGEST_PAUSE_S
        assert "broken.gguf" in told[0].next_step
        assert str(tmp_path) not in f"{told[0]}{told[1]}"


async def test_a_mended_file_is_taken_at_once(tmp_path: Path) -> None:
    """Once a broken file has been replaced there is nothing to wait for."""
    file = tmp_path / "mended.gguf"
    async with stopped_in_the_end(Engine(EngineSettings(file, "mended", 256, threads=1))) as engine:
        for content in (None, b"GGUF and no more"):
            if content is not None:
                file.write_bytes(content)
            with pytest.raises(UpstreamUnreachable):
                await engine.address()
        file.write_bytes(RUNG.path.read_bytes())
        assert await ask(await engine.address())


async def test_a_child_that_dies_again_and_again_is_waited_for(engine: Engine) -> None:
    """The first death costs no time, the next a second, though each child had answered."""
    assert await ask(await engine.address())
    await kill(engine)
    refused, pause_s = None, 0.5
    while refused is None:  # on a busy machine a pause may be over before we ask
        pause_s *= 2
        assert await ask(await engine.address())
        await kill(engine)
        try:
            await engine.address()
        except UpstreamUnreachable as error:
            refused = error
    assert "a moment ago" in refused.message
    assert refused.retry_after_s is not None
    assert 0 < refused.retry_after_s <= pause_s
    assert engine.pid is None
    await asyncio.sleep(refused.retry_after_s)
    assert await ask(await engine.address())


async def test_a_child_that_served_for_long_is_replaced_at_once() -> None:
    """Deaths far from each other are not a row."""
    async with stopped_in_the_end(Engine(SETTINGS, steady_after_s=0.0)) as engine:
        for _ in range(3):
            await engine.address()
            await kill(engine)
        assert await ask(await engine.address())


async def test_stop_leaves_no_process(engine: Engine) -> None:
    """A stop ends the child, and a late call does not start another that nobody would end."""
    await engine.address()
    pid = living_pid(engine)
    await engine.stop()
    assert not psutil.pid_exists(pid)
    assert engine.pid is None
    with pytest.raises(UpstreamUnreachable, match="stopped"):
        await engine.address()
    await engine.stop()


async def test_a_stop_during_the_start(engine: Engine) -> None:
    """Who waits for the start is told, and no child stays."""
    waiting = asyncio.create_task(engine.address())
    await until(lambda: engine.pid is not None)
    pid = living_pid(engine)
    await engine.stop()
    assert not psutil.pid_exists(pid)
    with pytest.raises(UpstreamUnreachable, match="stopped"):
        await waiting


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
async def test_signals_to_the_whole_group_leave_it_answering(engine: Engine) -> None:
    """Ctrl-C and a service manager's stop reach the child too, while answers are yet to end."""
    address = await engine.address()
    pid = living_pid(engine)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    assert await ask(address)
    assert engine.pid == pid


@pytest.mark.parametrize("state", ["loaded", "loading"])
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child loads before it looks")
async def test_a_child_ends_with_its_parent(tmp_path: Path, state: str) -> None:
    """Kill -9 of the gateway leaves no engine behind, not even one that is still loading."""
    file = RUNG.path
    if state == "loading":
        file = tmp_path / "never-ending.gguf"
        os.mkfifo(file)
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(file), state),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), PATIENCE_S))
    assert psutil.pid_exists(pid)
    parent.kill()
    await parent.wait()
    try:
        await until(lambda: is_gone(pid))
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
