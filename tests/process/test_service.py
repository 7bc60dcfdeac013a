"""What a service manager sees: READY and STOPPING, little memory; and an installation that is no checkout."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from pathlib import Path

from bot import __version__
from bot.emulator import Emulator
from tests.process.harness import Bot, hear, told, until, write_lock

ROOT = Path(__file__).resolve().parents[2]
BOT = str(Path(sys.executable).with_name("bot"))
IDLE_MEGABYTES = 100


async def test_the_service_manager_is_told_when_it_serves_and_when_it_stops(bot: Bot, manager: socket.socket) -> None:
    """READY comes when webhooks are taken, not before; STOPPING at the signal."""
    process = await bot.launch(env={"NOTIFY_SOCKET": manager.getsockname()})
    assert await told(manager) == "READY=1"
    async with bot.client.get(bot.public_url + "/healthz") as response:
        assert response.status == 200
    assert (await bot.get("/readyz"))[0] == 200
    assert await process.stop() == 0
    await hear(manager, "STOPPING=1")


async def test_the_service_manager_hears_how_it_goes_while_the_loop_turns_and_the_file_answers(
    bot: Bot, emu: Emulator, manager: socket.socket
) -> None:
    """In words with figures for systemctl status; and the watchdog is fed, also where the file can only be read."""
    emu.faults.add("hang", service="model")
    await bot.start(env={"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "200000"})
    heard = {await told(manager) for _ in range(3)}
    assert heard == {"READY=1", "STATUS=Answering normally; 0 waiting, 0 being answered", "WATCHDOG=1"}
    await emu.say("34600111222", "hola")
    await emu.say("34600111222", "are you there?")
    await hear(manager, "STATUS=Answering normally; 1 waiting, 1 being answered")
    with write_lock(bot):
        for _ in range(3):
            await hear(manager, "WATCHDOG=1")


async def test_a_service_manager_that_stops_reading_stops_nothing(
    bot: Bot, emu: Emulator, manager: socket.socket
) -> None:
    """Its socket takes some datagrams, then whoever sends waits for it; nobody is to wait for that."""
    process = await bot.start(env={"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "200000"})
    fill(manager.getsockname())
    async with asyncio.timeout(10):
        await emu.say("34600111222", "hola")
    await until(lambda: bot.states() == {"hola": "done"})
    assert await process.stop() == 0


def fill(address: str) -> None:
    """Fill a datagram socket's queue, so that whoever sends would wait."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender,
        contextlib.suppress(BlockingIOError),
    ):
        sender.connect(address)
        while sender.send(b"X=1"):
            pass


async def test_it_serves_from_any_folder_in_100_megabytes_whether_or_not_systemd_listens(
    bot: Bot, emu: Emulator, tmp_path: Path
) -> None:
    """A path in bot.toml is relative to bot.toml's folder; a notify socket that is gone is no reason not to answer."""
    process = await bot.launch(
        BOT, "run", "--config", str(bot.config), cwd=tmp_path, env={"NOTIFY_SOCKET": "/nobody/listens"}
    )
    await process.logged("ready")
    await emu.say("34600111222", "hola")  # then all that is loaded on demand is there
    await until(lambda: bot.states() == {"hola": "done"})
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) / 1024 < IDLE_MEGABYTES
    ended = await bot.command("status", cwd=Path("/"), env={"BOT_CONFIG": str(bot.config)})
    assert "Answering normally." in ended.out
    assert await process.stop() == 0
    assert bot.database.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bot"]


def installed(folder: Path) -> Path:
    """Build the wheel and install it into a fresh environment, offline; return the environment's bin folder.

    The dependencies are those of this environment: a .pth file shows them to the new one.
    """
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    wheels, fresh = folder / "wheels", folder / "venv"
    subprocess.run(
        [*pip, "wheel", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", wheels, ROOT], check=True
    )
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", fresh], check=True)
    (wheel,) = wheels.glob("*.whl")
    python = fresh / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", "--no-compile", wheel], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = Path("lib", version, "site-packages")
    (fresh / packages / "dependencies.pth").write_text(f"{Path(sys.prefix) / packages}\n")
    return fresh / "bin"


async def test_an_installed_wheel_runs_without_the_checkout(bot: Bot, emu: Emulator, tmp_path: Path) -> None:
    """Migrations, templates, style sheets, the reference of bot.toml and the units travel with the package."""
    programs = installed(tmp_path / "installation")
    bot.env["PYTHONPATH"] = ""
    process = await bot.launch(str(programs / "bot"), "--version")
    assert await process.ended() == 0
    assert process.lines == [f"bot, version {__version__}"]
    script = "from bot.store.migrate import migrations_folder; print(migrations_folder())"
    process = await bot.launch(str(programs / "python"), "-c", script)
    assert await process.ended() == 0
    assert programs.parent in Path(process.output).parents
    process = await bot.launch(
        str(programs / "bot"), "init", "--root", str(tmp_path)
    )  # reads bot.toml, asks for the rest
    assert await process.ended() == 2
    assert process.output.startswith("There is no terminal to ask at: set BOT_WHATSAPP__PHONE_NUMBER_ID, ")
    process = await bot.launch(str(programs / "bot"), "run")
    await process.logged("ready")
    await emu.say("34600111222", "hola")
    await emu.wait_for(emu.sends)
    page = (await bot.get("/"))[1]
    assert "u1" in page
    assert (await bot.get("/static/page.css"))[0] == 200
    assert await process.stop() == 0
    applied = bot.sql("SELECT name FROM migrations ORDER BY version")
    assert [name for (name,) in applied] == sorted(path.name for path in (ROOT / "migrations").glob("*.sql"))
