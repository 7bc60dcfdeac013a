"""The files of docs/monitoring: promtool is content with them, and each alert is tried."""

import json
import re
from itertools import combinations
from pathlib import Path

from prometheus_client import generate_latest

from bot.metrics import Metrics
from tests.monitoring.promtool import DOCS, metrics_in, of_dashboard, of_rules, promtool

TRIED = Path(__file__).with_name("alerts.test.yml")


def test_the_rules_are_valid_and_fire_when_they_should() -> None:
    """Syntax and templates; then days of samples, with what fires at which minute, and nothing else."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", DOCS / "alerts.rules.yml")
    promtool("test", "rules", TRIED)


def test_every_rule_is_tried() -> None:
    """For each alert there are samples that let it fire, and it says what to do."""
    text, tried = (DOCS / "alerts.rules.yml").read_text("utf-8"), TRIED.read_text("utf-8")
    alerts = re.findall(r"- alert: (\w+)", text)
    fired = re.findall(r'alertname="(\w+)", alertstate="firing"|alertname: (\w+)', tried)
    assert len(alerts) == len(set(alerts)) == len(of_rules()) == text.count("description: ") > 10
    assert set(alerts) == {name for found in fired for name in found if name}


def test_the_scrape_configuration_is_valid(tmp_path: Path) -> None:
    """As it stands, with the rules and the token's file beside it."""
    for name in ("prometheus.yml", "alerts.rules.yml"):
        (tmp_path / name).write_bytes((DOCS / name).read_bytes())
    (tmp_path / "bot.token").write_text("token")
    assert f"{len(of_rules())} rules found" in promtool("check", "config", tmp_path / "prometheus.yml")


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """It names no server and no data source of its own; panels have ids, places and expressions that don't collide."""
    text = (DOCS / "dashboard.json").read_text("utf-8")
    dashboard = json.loads(text)
    panels = dashboard["panels"]
    sources = [each["datasource"] for panel in panels for each in (panel, *panel["targets"])]
    assert {source["uid"] for source in sources} == {"${datasource}"}
    assert {one["name"] for one in dashboard["templating"]["list"]} == {"datasource", "instance"}
    assert "://" not in text
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = any(a[at] + a[long] <= b[at] for a, b in ((one, other), (other, one)) for at, long in ("xw", "yh"))
        assert apart, (one, other)


def test_every_metric_is_documented_and_all_that_is_looked_at_exists() -> None:
    """A name in a rule or on the dashboard that nobody tells would show nothing, for ever."""
    text = generate_latest(Metrics().registry).decode()
    families = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    known = {f"{name}{end}" for name, kind in families.items() for end in ENDINGS.get(kind, ("",))}
    looked_at = metrics_in([*of_rules(), *of_dashboard(json.loads((DOCS / "dashboard.json").read_text("utf-8")))])
    assert looked_at - known == set()
    documented = set(re.findall(r"[`(]([a-z_]+)[`{]", (DOCS / "README.md").read_text("utf-8")))
    assert {name for name in families if name.startswith("bot_")} == {
        f"bot_{n}" for n in documented if f"bot_{n}" in families
    }


ENDINGS = {"histogram": ("_bucket", "_sum", "_count")}
