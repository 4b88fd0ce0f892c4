"""What programs do with Debian's python3-docker, on the engine that DOCKER_HOST names. Says "ok" when all held."""
import io
import sys
import tarfile
import threading

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

NODE = ["constraint:node==host2"]
client = docker.from_env(timeout=60)


def runs():
    out = client.containers.run("busybox", ["sh", "-c", "echo out; echo err >&2"], stderr=True, remove=True)
    assert sorted(out.splitlines()) == [b"err", b"out"], out
    try:
        client.containers.run("busybox", ["sh", "-c", "echo no >&2; exit 3"], remove=True)
        raise AssertionError("a failure was not told")
    except ContainerError as error:
        assert error.exit_status == 3 and error.stderr == b"no\n", error
    try:
        client.api.create_container("nosuchimage:1")
        raise AssertionError("an image that is nowhere was run")
    except ImageNotFound as error:
        assert error.explanation == "No such image: nosuchimage:1", error.explanation


def life():
    one = client.containers.run(
        "busybox", ["sh", "-c", "i=0; while :; do echo tick $((i=i+1)); sleep 0.05; done"],
        name="py", detach=True, environment=NODE, labels={"of": "py"})
    follower = one.logs(stream=True, follow=True)
    assert next(follower).startswith(b"tick 1"), "the first line"
    code, output = one.exec_run(["sh", "-c", "echo in; echo bad >&2; exit 4"], demux=True)
    assert (code, output) == (4, (b"in\n", b"bad\n")), (code, output)
    code, stream = one.exec_run(["sh", "-c", "echo a; sleep 0.1; echo b"], stream=True)
    assert code is None and b"".join(stream) == b"a\nb\n"
    code, output = one.exec_run("id -u", user="1000", environment={"A": "b"}, workdir="/tmp")
    assert (code, output) == (0, b"1000\n"), (code, output)
    code, output = one.exec_run("tty", tty=True)
    assert code == 0 and output.startswith(b"/dev/pts/"), (code, output)
    stats = one.stats(stream=False)
    assert stats["memory_stats"]["usage"] > 0 and stats["cpu_stats"]["online_cpus"] > 0, stats
    several = one.stats(decode=True)
    assert next(several)["read"] < next(several)["read"]
    assert "sh" in " ".join(" ".join(row) for row in one.top()["Processes"])
    one.pause()
    one.reload()
    assert one.status == "paused", one.status
    one.unpause()
    one.rename("py2")
    assert [each.id for each in client.containers.list(filters={"label": "of=py"})] == [one.id]
    waited = {}
    waiter = threading.Thread(target=lambda: waited.update(one.wait(timeout=60)))
    waiter.start()
    one.kill()
    waiter.join()
    assert waited["StatusCode"] == 137, waited
    one.start()
    one.restart(timeout=0)
    one.stop(timeout=0)
    assert one.wait()["StatusCode"] == 137
    assert one.logs(tail=1, timestamps=True).count(b"tick") == 1
    one.remove(v=True)
    try:
        one.reload()
        raise AssertionError("it was there after its removal")
    except NotFound:
        pass


def attaches():
    one = client.containers.create("busybox", ["sh", "-c", "cat; echo done"], stdin_open=True, environment=NODE)
    socket = one.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    one.start()
    socket._sock.sendall(b"hello\n")
    socket._sock.shutdown(1)
    got = b""
    while chunk := socket._sock.recv(4096):
        got += chunk
    socket.close()
    # Without stdin_once its stdin stays open: the words came back, the end did not come.
    assert b"hello\n" in got, got
    one.remove(force=True)


def attach_stream():
    one = client.containers.create("busybox", ["sh", "-c", "echo one; echo two >&2"])
    output = one.attach(stream=True, logs=True, demux=True)
    one.start()
    parts = list(output)
    assert b"".join(out for out, _ in parts if out) == b"one\n", parts
    assert b"".join(err for _, err in parts if err) == b"two\n", parts
    one.remove()


def events():
    seen = client.events(decode=True, filters={"type": "container", "label": "watched=yes"})
    actions = []

    def watch():
        for event in seen:
            actions.append(event["Action"])
            if event["Action"] == "destroy":
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    client.containers.run("busybox", "true", labels={"watched": "yes"}, remove=True)
    watcher.join(60)
    seen.close()
    assert [each for each in actions if each != "attach"] == ["create", "start", "die", "destroy"], actions


def images():
    image = client.images.get("busybox")
    assert "busybox:latest" in image.tags and image.history()
    assert image.tag("busybox", tag="py")
    assert "busybox:py" in client.images.get("busybox:py").tags
    saved = b"".join(client.images.get("busybox:py").save(named="busybox:py"))
    client.images.remove("busybox:py")
    loaded = client.images.load(saved)
    assert loaded[0].id == image.id, loaded
    client.images.remove("busybox:py")
    assert client.info()["Driver"] and client.version()["ApiVersion"] and client.ping()
    assert client.df()["Images"]


def archives():
    one = client.containers.create("busybox", ["cat", "/data/file"], environment=NODE)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (("data", None), ("data/file", b"carried\n")):
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.mode = 0o755 if content is None else 0o644
            entry.size = len(content or b"")
            archive.addfile(entry, io.BytesIO(content or b""))
    assert one.put_archive("/", buffer.getvalue())
    one.start()
    assert one.wait()["StatusCode"] == 0
    assert one.logs() == b"carried\n"
    chunks, stat = one.get_archive("/data/file")
    assert stat["name"] == "file" and stat["size"] == 8, stat
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        assert archive.extractfile("file").read() == b"carried\n"
    exported = b"".join(one.export())
    with tarfile.open(fileobj=io.BytesIO(exported)) as archive:
        assert archive.extractfile("data/file").read() == b"carried\n"
    assert {"Path": "/data/file", "Kind": 1} in one.diff()
    made = one.commit(repository="carried", tag="1", changes='CMD ["cat", "/data/file"]')
    assert client.containers.run("carried:1", remove=True) == b"carried\n"
    client.images.remove(made.id, force=True)
    one.remove()


STEPS = {each.__name__: each for each in (runs, life, attaches, attach_stream, events, images, archives)}
for name in sys.argv[1:] or STEPS:
    try:
        STEPS[name]()
    except (APIError, AssertionError) as error:
        raise SystemExit(f"{name}: {error!r} {getattr(error, 'explanation', '')}") from error
print("ok")
