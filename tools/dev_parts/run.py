"""``tools/dev run``: a supervisor with a sample app, from nothing."""

import fcntl
import os
import shutil
import signal
from contextlib import ExitStack, suppress
from typing import IO

import docker

from tools.dev_parts import labelled, samples
from tools.dev_parts.engine import Engine, EngineMissing, real_engine, simulated_engine
from tools.dev_parts.paths import DEV, INSTANCE, run_folder, tidy_run_folder
from tools.dev_parts.programs import Program, ProgramFailed
from tools.dev_parts.registry import RegistryMissing, dev_registry, free_port
from tools.dev_parts.samples import Images, SamplesFailed
from tools.dev_parts.supervisor import PortTaken, Refused, Supervisor
from tools.dev_parts.terminal import say
from tools.dev_parts.watch import Watcher, WatchFailed

_API_PORT = 48484
_WEB_PORT = 8080
_PLACE = DEV / "data"


def run(*, once: bool, simulated: bool, timeout_s: float) -> int:
    """Bring everything up, stay until Ctrl-C (not with ``once``), and take down what was brought up.

    The sample's containers, networks and volumes are removed at the end. Returns 1 with a printed reason when the
    services do not come to run in time.
    """
    DEV.mkdir(parents=True, exist_ok=True)
    with (DEV / "run.lock").open("w") as lock, ExitStack() as stack:
        if not _sole(lock):
            say("another tools/dev run of this checkout is at work")
            return 1
        try:
            engine, images = _provide(stack, simulated=simulated)
            _supervise(stack, engine, images, once=once, timeout_s=timeout_s)
        except (ProgramFailed, SamplesFailed, EngineMissing, RegistryMissing, WatchFailed, Refused) as error:
            say(str(error))
            return 1
    return 0


def _provide(stack: ExitStack, *, simulated: bool) -> tuple[Engine, Images]:
    """An engine, and the names of images that it can pull."""
    try:
        if simulated:
            raise EngineMissing("--simulated was given")
        engine = stack.enter_context(real_engine())
        registry = stack.enter_context(dev_registry())
    except (EngineMissing, RegistryMissing) as error:
        if os.environ.get("CI") == "true" and not simulated:
            raise
        say(f"using the simulated engine, nothing really runs: {error}")
        engine = stack.enter_context(simulated_engine())
        say(f"engine {engine.url}")
        return engine, samples.sample_names("localhost:5000")
    client = docker.APIClient(base_url=engine.url, timeout=60)
    stack.callback(client.close)
    say(f"engine {engine.url}, registry {registry}")
    images = samples.provide(client, registry)
    if not labelled.containers(client, INSTANCE):
        samples.forget(client, images)
    stack.callback(samples.forget, client, images)
    return engine, images


def _supervise(stack: ExitStack, engine: Engine, images: Images, *, once: bool, timeout_s: float) -> None:
    run_dir = run_folder("supervisor")
    Program("supervisor", _PLACE).stop()  # one that a killed command left behind
    kept = _keep_or_clean(stack, engine)
    if kept:
        say("taking over the containers that an interrupted run left")
    else:
        shutil.rmtree(_PLACE, ignore_errors=True)
    web_port = _web_port(kept=kept)
    stack.callback(tidy_run_folder)
    stack.callback(shutil.rmtree, run_dir, ignore_errors=True)

    def start(port: int) -> Supervisor:
        supervisor = Supervisor(_PLACE, run_dir, engine_url=engine.url, instance=INSTANCE, port=port)
        stack.callback(supervisor.stop)
        stack.callback(signal.signal, signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C would leave a mess
        supervisor.start()
        return supervisor

    try:
        supervisor = start(free_port(_API_PORT))
    except PortTaken:
        supervisor = start(free_port())
    _follow(supervisor, images, web_port if engine.real else None, once=once, timeout_s=timeout_s)


def _web_port(*, kept: bool) -> int:
    """The sample's published port: another one would make another container of a kept one."""
    note = _PLACE / "web-port"
    if kept and note.exists():
        return int(note.read_text())
    port = free_port(_WEB_PORT)
    _PLACE.mkdir(parents=True, exist_ok=True)
    note.write_text(str(port))
    return port


def _keep_or_clean(stack: ExitStack, engine: Engine) -> bool:
    """Plan the removal of all that the run will make. True when there is something of an earlier run."""
    stack.callback(labelled.remove_lock_folders, INSTANCE)
    if not engine.real:
        return False
    client = docker.APIClient(base_url=engine.url, timeout=60)
    stack.callback(client.close)
    stack.callback(labelled.remove_all, client, INSTANCE)
    return bool(labelled.containers(client, INSTANCE))


def _follow(supervisor: Supervisor, images: Images, web_port: int | None, *, once: bool, timeout_s: float) -> None:
    """Give it the target and show what becomes of it. ``web_port`` None: nobody listens there."""
    api = supervisor.api
    watcher = Watcher(api, samples.APP_ID, list(images.names), supervisor.program.running)
    try:
        with watcher.screen():
            api.post("/v2/local/target-state", samples.target(images, web_port or _WEB_PORT))
            watcher.until_running(timeout_s)
        say(f"all services run. API: {api.url}  output: {supervisor.program.log}")
        if web_port is not None:
            say(f"the sample's page: http://127.0.0.1:{web_port}/")
        if not once:
            with suppress(KeyboardInterrupt):
                say("Ctrl-C ends it and removes the sample")
                with watcher.screen():
                    watcher.for_ever()
    except WatchFailed as error:
        raise WatchFailed(f"{error}\nend of {supervisor.program.log}:\n{supervisor.program.tail()}") from error


def _sole(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
