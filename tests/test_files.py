"""Files are written whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deriva_ml_hooks.files import inside, make_folder, replace_whole, sync_folder, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("data", [b"", b"new\n", bytes(range(256)) * 5000])
def test_what_is_written_is_what_is_read(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    for _ in range(2):
        write_atomically(str(path), data)
        assert path.read_bytes() == data
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o400, 0o666])
def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_text("old\n")
    path.chmod(mode)
    write_atomically(str(path), b"new\n", mode=0o777)
    assert path.stat().st_mode & 0o7777 == mode


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(str(tmp_path / "file"), b"x")
        write_atomically(str(tmp_path / "asked"), b"x", mode=0o640)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o7777 == mode
    assert (tmp_path / "asked").stat().st_mode & 0o7777 == 0o640


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("theirs\n")
    (tmp_path / "target").chmod(0o666)
    for leads_to in ("target", "nowhere"):
        link = tmp_path / "link"
        link.unlink(missing_ok=True)
        link.symlink_to(leads_to)
        write_atomically(str(link), b"new\n", mode=0o600)
        assert (link.is_symlink(), link.read_bytes()) == (False, b"new\n")
        assert link.stat().st_mode & 0o7777 == 0o600
    assert (tmp_path / "target").read_text() == "theirs\n"
    assert names(tmp_path) == ["link", "target"]


def test_a_link_of_the_users_stays_a_link_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "target").write_text("old\n")
    (tmp_path / "link").symlink_to("there/target")
    (tmp_path / "other").symlink_to("link")
    replace_whole(str(tmp_path / "other"), b"new\n")
    assert os.readlink(tmp_path / "other") == "link"
    assert os.readlink(tmp_path / "link") == "there/target"
    assert (tmp_path / "there" / "target").read_bytes() == b"new\n"
    assert names(tmp_path / "there") == ["target"]


@pytest.mark.parametrize(
    "name", ["x" * 255, "🎉" * 63, "漢" * 85, ".hidden", "a b\n'c", os.fsdecode(b"\xff" * 255)]
)
def test_a_name_may_be_as_long_and_odd_as_the_system_lets_it(tmp_path: Path, name: str) -> None:
    write_atomically(str(tmp_path / name), b"new\n")
    assert names(tmp_path) == [name]


def test_a_name_without_a_folder_is_one_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically("file", b"new\n")
    assert names(tmp_path) == ["file"]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    (tmp_path / "loop").symlink_to("loop")
    for name in ("folder", "gone/file", "folder/inside/../../no/file", "loop"):
        before = names(tmp_path)
        try:
            write_atomically(str(tmp_path / name), b"new\n")
        except OSError:
            assert names(tmp_path) == before
            assert names(tmp_path / "folder") == ["inside"]
        else:
            assert name == "loop"  # replaced, since it leads nowhere


def test_a_full_disk_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old\n")
    script = (
        "import resource, signal, sys; from deriva_ml_hooks.files import write_atomically\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_atomically(sys.argv[1], bytes(10000))\n"
        "except OSError: sys.exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "file")], check=False)
    assert done.returncode == 9
    assert (tmp_path / "file").read_text() == "old\n"
    assert names(tmp_path) == ["file"]


def test_an_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "fsync", interrupted)
    (tmp_path / "file").write_text("old\n")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(str(tmp_path / "file"), b"new\n")
    monkeypatch.undo()
    assert (tmp_path / "file").read_text() == "old\n"
    assert names(tmp_path) == ["file"]


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append("folder" if os.path.isdir(f"/dev/fd/{descriptor}") else "file")
        fsync(descriptor)

    def replaced(source: str, target: str) -> None:
        done.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_atomically(str(tmp_path / "file"), b"new\n")
    assert done == ["file", "rename", "folder"]


@pytest.mark.parametrize(
    ("mode", "folder"), [(0o600, 0o700), (0o660, 0o2770), (0o664, 0o2775), (0o640, 0o2750)]
)
def test_folders_are_made_for_those_who_may_read_the_files(tmp_path: Path, mode: int, folder: int) -> None:
    tmp_path.chmod(0o755)
    make_folder(str(tmp_path / "a" / "b"), mode=mode)
    assert (tmp_path / "a").stat().st_mode & 0o7777 == folder
    assert (tmp_path / "a" / "b").stat().st_mode & 0o7777 == folder
    make_folder(str(tmp_path), mode=mode)
    assert tmp_path.stat().st_mode & 0o7777 == 0o755


def test_a_folder_that_cannot_be_flushed_does_no_harm(tmp_path: Path) -> None:
    sync_folder(str(tmp_path / "gone"))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "folder", "way"),
    [
        ("/a/b/c", "/a", "b/c"),
        ("/a", "/a", "."),
        ("/a/", "/a", "."),
        ("/ab", "/a", None),
        ("/a/../b", "/a", None),
        ("/a/..b", "/a", "..b"),
        ("/a", "/", "a"),
        ("/", "/a", None),
    ],
)
def test_the_way_from_a_folder_to_what_is_inside(path: str, folder: str, way: str | None) -> None:
    assert inside(path, folder) == way
