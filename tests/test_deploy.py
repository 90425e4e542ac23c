"""The files of `deploy/` and the Dockerfile: well-formed, and of one mind with the code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml

from bridge.cli import _parser as parser
from bridge.config import LimitsConfig, ServerConfig, loads
from bridge.config.quantities import duration
from bridge.gateways.server import CLOSING, UNFINISHED
from tests.support import dockerfile
from tests.support.dockerfile import health_command, stages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config import Config

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
PORT = str(ServerConfig().port)
SYSTEMD = shutil.which("systemd-analyze")
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))

# What a container, a unit or a pod needs beyond `server.drain` to end by itself: the connection to
# the database that is being made, those who are asked to leave, requests, and a little.
BEYOND = 5 + UNFINISHED + 1
HALF = 0.5  # of `server.drain` goes by while connections are told; then each may take CLOSING


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text(f"deploy/kubernetes/{name}")))


def manifest(name: str, kind: str) -> dict[str, Any]:
    (found,) = [one for one in manifests(name) if one["kind"] == kind]
    return found


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text("deploy/compose.yaml"))
    return found


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text("deploy/rowcast.service"), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def pods() -> dict[str, dict[str, Any]]:
    return {
        "migrate": manifest("migrate.yaml", "Job")["spec"]["template"]["spec"],
        "bridge": manifest("bridge.yaml", "Deployment")["spec"]["template"]["spec"],
    }


def image() -> dockerfile.Stage:
    return stages(text("Dockerfile"))[-1]


def config(written: str, tmp_path: Path) -> Config:
    """As it loads where its secrets are mounted."""
    for name in ("database", "jwt", "password"):
        url = "postgresql://somebody:secret@db.example.com/app?sslmode=require"
        (tmp_path / name).write_text(url if name == "database" else "0123456789abcdef" * 2)
    placed = re.sub(r"\$\{file:[^}]+/(\w+)\}", rf"${{file:{tmp_path}/\1}}", written)
    return loads(placed, env={"ROWCAST_ROLE": "somebody"})


def configs(tmp_path: Path) -> Iterator[Config]:
    yield config(text("deploy/compose/config.yaml"), tmp_path)
    yield config(manifest("config.yaml", "ConfigMap")["data"]["config.yaml"], tmp_path)


# Well-formed, as those say whose formats these are.


@pytest.mark.skipif(HADOLINT is None, reason="no hadolint for this platform")
def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run([str(HADOLINT), "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_compose_file_is_one() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, "deploy/compose.yaml"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["bridge.yaml", "config.yaml", "migrate.yaml"])
def test_the_manifests_are_kubernetes(name: str) -> None:
    for one in manifests(name):
        kubernetes_validate.validate(one, "1.31", strict=True)


@pytest.mark.skipif(SYSTEMD is None, reason="no systemd-analyze found")
def test_the_unit_is_one(tmp_path: Path) -> None:
    there = tmp_path / "rowcast.service"
    there.write_text(
        text("deploy/rowcast.service").replace("/opt/rowcast/bin/rowcast", sys.executable)
    )
    done = subprocess.run(
        [str(SYSTEMD), "verify", "--man=no", str(there)], capture_output=True, text=True
    )
    ours = [line for line in done.stderr.splitlines() if "rowcast.service" in line]
    assert not ours


# Of one mind.


def test_the_port_is_the_same_everywhere() -> None:
    assert image().last("EXPOSE").text == PORT
    assert image().last("CMD").words[-2:] == ["--port", PORT]
    assert f"127.0.0.1:{PORT}/healthz" in health_command(image())[-1]
    services = compose()["services"]
    for name in ("bridge-a", "bridge-b"):
        assert services[name]["command"] == image().last("CMD").words
    environment = services["haproxy"]["environment"]
    assert environment["ROWCAST_A"] == f"bridge-a:{PORT}"
    assert environment["ROWCAST_B"] == f"bridge-b:{PORT}"
    (container,) = pods()["bridge"]["containers"]
    assert container["args"] == image().last("CMD").words
    assert container["ports"] == [{"name": "http", "containerPort": int(PORT)}]
    for proxy in ("haproxy.cfg", "nginx.conf"):
        assert set(re.findall(r"10\.0\.0\.1\d:(\d+)", text(f"deploy/{proxy}"))) == {PORT}


def commands() -> Iterator[list[str]]:
    yield image().last("CMD").words
    for service in compose()["services"].values():
        if service["image"] == "rowcast":
            yield service["command"]
    for pod in pods().values():
        yield from (container["args"] for container in pod["containers"])
    yield unit()["ExecStart"][0].split()[1:]


def test_the_commands_are_the_programs() -> None:
    assert image().last("ENTRYPOINT").words == ["rowcast"]
    found = [parser().parse_args(command).command for command in commands()]
    assert sorted(found) == ["migrate"] * 2 + ["serve"] * 5


def test_the_configs_load(tmp_path: Path) -> None:
    for found in configs(tmp_path):
        assert found.tables


def test_whoever_serves_may_be_what_was_granted() -> None:
    granted = {command[2] for command in commands() if command[:2] == ["migrate", "--grant"]}
    assert granted == {compose()["x-bridge"]["environment"]["ROWCAST_ROLE"]}
    made = re.findall(r"CREATE ROLE (\w+) LOGIN", text("deploy/compose/database.sql"))
    migrating = compose()["services"]["migrate"]["environment"]["ROWCAST_ROLE"]
    assert made == [migrating, *granted]


def test_the_config_is_where_the_image_looks() -> None:
    path = Path(image().environment["ROWCAST_CONFIG"])
    services = compose()["services"]
    for name in ("migrate", "bridge-a", "bridge-b"):
        assert {"source": "rowcast", "target": str(path)} in services[name]["configs"]
    for pod in pods().values():
        mounts = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes[mounts[str(path.parent)]]["configMap"] == {"name": "rowcast"}
    assert path.name in manifest("config.yaml", "ConfigMap")["data"]


def test_the_secrets_are_where_the_configs_look() -> None:
    named = re.findall(r"\$\{file:([^}]+)\}", text("deploy/compose/config.yaml"))
    for name in ("migrate", "bridge-a", "bridge-b"):
        targets = [f"/run/secrets/{s['target']}" for s in compose()["services"][name]["secrets"]]
        assert targets == named
    written = manifest("config.yaml", "ConfigMap")["data"]["config.yaml"]
    named = sorted(re.findall(r"\$\{file:([^}]+)\}", written))
    assert named == ["/run/secrets/rowcast/database", "/run/secrets/rowcast/jwt"]
    for pod in pods().values():
        mounts = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]
        assert "/run/secrets/rowcast" in mounts
    projected = next(v["projected"] for v in pods()["migrate"]["volumes"] if "projected" in v)
    items = [item["path"] for source in projected["sources"] for item in source["secret"]["items"]]
    assert sorted(items) == [Path(name).name for name in named]


def test_nobody_is_killed_who_still_drains(tmp_path: Path) -> None:
    drains = {found.server.drain for found in configs(tmp_path)} | {ServerConfig().drain}
    needed = max(drains) * HALF + CLOSING + BEYOND
    assert duration(compose()["x-bridge"]["stop_grace_period"]) >= needed
    assert float(unit()["TimeoutStopSec"][0]) >= needed
    pod = pods()["bridge"]
    (_, before) = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] - float(before) >= needed


def test_descriptors_suffice_for_all_connections() -> None:
    most = 2 * LimitsConfig().connections + 100
    assert int(unit()["LimitNOFILE"][0]) > most
    assert compose()["x-bridge"]["ulimits"]["nofile"] > most
    assert compose()["services"]["haproxy"]["ulimits"]["nofile"] > 2 * most


def test_nobody_has_rights_or_writes() -> None:
    user, group = image().last("USER").text.split(":")
    for pod in pods().values():
        assert pod["automountServiceAccountToken"] is False
        context = pod["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"]) == (int(user), int(group))
        assert context["fsGroup"] == int(group), "who has to read the secrets"
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    for name in ("migrate", "bridge-a", "bridge-b", "haproxy"):
        service = compose()["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_what_belongs_together_in_kubernetes_has_one_label() -> None:
    deployment = manifest("bridge.yaml", "Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert manifest("bridge.yaml", "Service")["spec"]["selector"] == labels
    assert manifest("bridge.yaml", "PodDisruptionBudget")["spec"]["selector"] == {
        "matchLabels": labels
    }
    migrating = manifest("migrate.yaml", "Job")["spec"]["template"]["metadata"]["labels"]
    assert migrating.items() != labels.items(), "nobody is sent to the migration"


def test_the_image_holds_what_the_wheel_needs_and_little_else() -> None:
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    files = dockerfile.context(text(".dockerignore"), listed.stdout.splitlines())
    assert {file.split("/")[0] for file in files} == {
        "CHANGELOG.md", "LICENSE", "README.md", "alembic", "bridge", "clients", "constraints.txt",
        "pyproject.toml",
    }  # fmt: skip
    assert "clients/js/rowcast.js" in files
    assert not [file for file in files if "/tests/" in file]
