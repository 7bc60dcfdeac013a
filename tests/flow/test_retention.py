"""What is old goes by itself, at the ages that bot.toml says, while the daemon answers."""

import json

from tests.flow.conftest import World

BACK = "strftime('%Y-%m-%dT%H:%M:%fZ', {}, '-{} days')"


async def test_the_daemon_takes_out_what_is_old(world: World) -> None:
    """Ana's question of a month ago goes, and Ana; of Bea's of last week what she quoted stays; Eva is answered."""
    eva = world.emu.customer("Eva Gil", wa_id="34600555666", user_id="ES.30000000000000000005")
    async with world.running():
        for who in (world.ana, world.bea):
            await world.emu.say(who, f"hello from {who.name}")
            await world.sent(1, who)
        await world.eventually(lambda: world.rows("SELECT depth FROM control") == [(0,)])
    for user, days in ((1, 31), (2, 9)):
        for table, column in (("outbox", "sent_at"), ("outbox", "finished_at"), ("attempts", "at")):
            whose = "user_id = ?" if table == "outbox" else "outbox_id IN (SELECT id FROM outbox WHERE user_id = ?)"
            world.write(f"UPDATE {table} SET {column} = {BACK.format(column, days)} WHERE {whose}", user)
        for column in ("created_at", "last_message_at"):
            world.write(f"UPDATE users SET {column} = {BACK.format(column, days)} WHERE id = ?", user)
    world.write("UPDATE outbox SET payload = json_set(payload, '$.context.id', 'wamid.before') WHERE user_id = 2")
    async with world.running(store={"attempts_days": 8}):
        await world.emu.say(eva, "hello from Eva")
        await world.sent(1, eva)
        await world.eventually(lambda: world.rows("SELECT count(*) FROM outbox") == [(2,)])
        await world.eventually(lambda: world.rows("SELECT outbox_id FROM attempts WHERE outbox_id < 3") == [])
    (payload,), (fresh,) = world.rows("SELECT payload FROM outbox ORDER BY id")
    assert json.loads(payload) == {"context": {"id": "wamid.before"}}
    assert "hello from Eva" in fresh
    assert world.rows("SELECT DISTINCT user_id FROM user_ids ORDER BY 1") == world.rows("SELECT id FROM users")
    assert world.rows("SELECT id, name FROM users ORDER BY id") == [(2, "Bea Ruiz"), (3, "Eva Gil")]
