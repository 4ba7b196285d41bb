"""The local AWS emulator, and the template deployed on it, as a user deploys it: `sam build`, then `sam deploy`."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from tests.golden import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.config import Config

LEASH = Path(__file__).with_name("leash.py")
EMULATOR = ROOT / ".venvs" / "emulator" / "bin"
SAM = ROOT / ".venvs" / "deploy" / "bin" / "sam"

REGION = "us-east-1"
START_SECONDS = 60
BUILD_SECONDS = 300
DEPLOY_SECONDS = 300
LIFE_SECONDS = 20 * 60
"""No emulator lives longer, whatever happens to the test run that started it."""


@dataclass(frozen=True)
class Stack:
    """A stack deployed on the emulator, and what a program needs to reach it."""

    name: str
    endpoint: str
    env: dict[str, str]
    outputs: dict[str, str]
    log: Path

    def client(self, service: str, config: Config | None = None) -> Any:
        """Return a boto3 client of the emulator."""
        return boto3.client(
            service,
            config=config,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def behest(self, *arguments: str | Path, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run the `behest` command against the stack, in a process of its own, as a user does."""
        command = [Path(sys.executable).with_name("behest"), *arguments]
        return subprocess.run(
            command,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@contextlib.contextmanager
def running_emulator(folder: Path) -> Iterator[str]:
    """Return the endpoint of an emulator on a free port of 127.0.0.1 that keeps its files in the folder; stop it afterwards."""
    port = _free_port()
    endpoint = f"http://127.0.0.1:{port}"
    scratch = folder / "tmp"
    scratch.mkdir()
    env = {
        **_environment(),
        "BIND_HOST": "127.0.0.1",  # else it listens on every interface
        "GATEWAY_PORT": str(port),
        "HOME": str(folder),
        "TMPDIR": str(scratch),
    }
    with (folder / "emulator.log").open("wb") as log:
        # A session of its own, so that Ctrl-C reaches pytest only, and the leash ends it when pytest has cleaned up.
        leash = subprocess.Popen(
            [sys.executable, LEASH, str(LIFE_SECONDS), EMULATOR / "ministack"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_it_answers(leash, endpoint, folder / "emulator.log")
            yield endpoint
        finally:
            leash.stdin.close()
            leash.wait()


def build(folder: Path, plugins: Path) -> Path:
    """Build the template with the plugins of a requirements file into the folder; return the template that was built."""
    env = {**_environment(), "PLUGIN_REQUIREMENTS": str(plugins)}
    _sam("build", "--build-dir", folder, env=env, timeout=BUILD_SECONDS)
    return folder / "template.yaml"


def deploy(template: Path, endpoint: str, folder: Path, plugins: str, name: str = "behest-e2e") -> Stack:
    """Deploy what was built onto the emulator, with parameters for the interpreter that runs the functions there."""
    env = {**_environment(), "AWS_ENDPOINT_URL": endpoint, "HOME": str(folder)}
    version, machine = _emulator_platform()
    parameters = {
        "Runtime": f"python{version}",
        "Architecture": {"aarch64": "arm64"}.get(machine, machine),
        "DeletionProtection": "false",
        "Plugins": plugins,
    }
    arguments = ["deploy", "--template-file", template, "--stack-name", name]
    arguments += ["--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar"]
    arguments += ["--parameter-overrides", *(f"{key}={value}" for key, value in parameters.items())]
    _sam(*arguments, env=env, timeout=DEPLOY_SECONDS)
    stack = Stack(name, endpoint, env, {}, folder / "emulator.log")
    [described] = stack.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    stack.outputs.update((output["OutputKey"], output["OutputValue"]) for output in described["Outputs"])
    return stack


def _sam(command: str, *arguments: str | Path, env: dict[str, str], timeout: float) -> None:
    try:
        done = subprocess.run(
            [SAM, command, *arguments],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"`sam {command}` took longer than {timeout} s and said:\n{late.stdout}") from None
    assert done.returncode == 0, f"`sam {command}` failed:\n{done.stdout}"


def _environment() -> dict[str, str]:
    """Return this process's environment without settings of AWS or behest: no test may reach a real account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BEHEST_"))}
    return kept | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAM_CLI_TELEMETRY": "0",
    }


def _emulator_platform() -> tuple[str, str]:
    question = 'import platform, sys; print("%d.%d" % sys.version_info[:2], platform.machine())'
    answer = subprocess.run(
        [EMULATOR / "python", "-c", question], capture_output=True, text=True, timeout=30, check=True
    )
    version, machine = answer.stdout.split()
    return version, machine


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _wait_until_it_answers(leash: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    health = f"{endpoint}/_ministack/health"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and leash.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=5):  # a URLError is an OSError
            return
        time.sleep(0.1)
    raise AssertionError(f"the emulator did not answer within {START_SECONDS} s and said:\n{log.read_text()}")
