#!/bin/bash
# `make vps`: the one file and the units on Debian 12 and 13, as a new owner has them. As root, with debootstrap; minutes.
# Roots without python: the program starts, checks and serves. Roots with systemd: it is process 1, and bot.service is
# installed by `bot init`, entered with all its restrictions, restarted under load, reloaded, killed, copied and put back.
set -eu
cd "$(dirname "$0")/../.."
python=$PWD/.venv/bin/python program=$(echo "$PWD"/dist/bot-*-"$(uname -m)") roots=${ROOTS:-$PWD/build/vps}
export PYTHONPATH=$PWD
mkdir -p "$roots"

entering() { # what leads into the root whose systemd runs
    echo nsenter -t "$(pgrep -o -f '^/(usr/)?lib/systemd/systemd --unit=multi-user.target$')" -m -p -u -i -C -r -w
}

inside() { # a command there
    $(entering) env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root timeout 60 "$@"
}

for suite in bookworm trixie; do
    bare=$roots/$suite booted=$roots/$suite-systemd
    [ -d "$bare" ] || debootstrap --variant=minbase "$suite" "$bare" > "$bare.log"
    [ -d "$booted" ] || debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus "$suite" "$booted" > "$booted.log"

    echo "== $suite $(cat "$bare/etc/debian_version"), nothing but the base system"
    cp "$program" "$bare/usr/local/bin/bot"
    env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root chroot "$bare" sh -euc '
        ! command -v python3; bot --version; HOME=$(mktemp -d); cd; timeout -s TERM 8 bot demo | sed -n 1,4p'

    echo "== $suite with systemd"
    rm -rf "$booted"/var/lib/private/bot "$booted"/var/lib/bot "$booted"/etc/bot "$booted"/etc/systemd/system/bot* "$booted"/usr/local/bin/bot
    cp "$program" "$booted/srv/bot"
    "$python" -m bot.emulator --port 9100 --webhook-url http://127.0.0.1:8080/webhook > /dev/null & emulator=$!
    setsid tests/vps/boot.sh "$booted" > "$booted.log" 2>&1 < /dev/null &
    trap 'kill $emulator; inside systemctl poweroff || true' EXIT
    until inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; do sleep 0.5; done
    # shellcheck disable=SC2046
    inside env $("$python" -m tests.vps.owner settings) /srv/bot init --subscribe | sed '/^$/,$d'
    inside sh -euc 'systemctl --version | head -1; systemctl daemon-reload
        systemctl enable --now bot.socket bot-admin.socket bot bot-backup.timer 2>/dev/null
        systemctl show bot -p StatusText; systemd-analyze security bot | tail -1'
    "$python" -m tests.vps.owner restarts 20 $(entering) systemctl restart bot
    inside sh -euc 'systemctl reload bot && echo reloaded
        kill -9 "$(systemctl show bot -p MainPID --value)"; sleep 8; systemctl is-active bot; systemctl show bot -p NRestarts
        systemctl start bot-backup && echo copied
        systemctl stop bot.socket bot-admin.socket bot
        bot restore --config /etc/bot/bot.toml /var/lib/bot/backups/*.db; bot resume --all --config /etc/bot/bot.toml
        systemctl start bot.socket bot-admin.socket bot; systemctl is-active bot; bot status --config /etc/bot/bot.toml | head -3
        for p in /proc/[0-9]*; do grep -qx bot $p/comm && grep VmRSS $p/status; done; true'
    inside systemctl poweroff || true
    kill $emulator; trap - EXIT
    sleep 3
done
