"""A lock that one process holds at a time and nobody else can take beforehand: a file in a folder that root alone writes to.

The kernel lets go of it when the holder dies, however it dies. (Any user may bind any abstract socket name.)
"""

import contextlib
import fcntl
import os
import stat

from .children import LabError


class Lock:
    """take() it, then release() it, which removes the file."""

    def __init__(self, folder, name):
        self._path, self._name = folder, name
        self._folder = self._file = None

    def take(self):
        """False: another process holds it."""
        while self._file is None:
            self._open_folder()
            try:
                self._file = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600,
                                     dir_fd=self._folder)
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._close()
                return False
            except FileNotFoundError:  # the folder went away with whoever had it
                self._close()
            except OSError as error:
                self._close()
                raise LabError(f"cannot open {self._path}/{self._name}: {error.strerror}") from None
            else:
                if not self._is_there():  # likewise the file
                    self._close()
        return True

    def release(self):
        """The file goes while the lock is held: nobody else's can be in its place."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._name, dir_fd=self._folder)
        with contextlib.suppress(OSError):
            self._path.rmdir()  # unless somebody else is there
        self._close()

    def _open_folder(self):
        self._path.mkdir(mode=0o755, exist_ok=True)
        try:
            self._folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise LabError(f"cannot open the folder {self._path}: {error.strerror}") from None
        status = os.fstat(self._folder)
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            self._close()
            raise LabError(f"others than root can write to the folder {self._path}")

    def _is_there(self):
        try:
            named = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(self._file))

    def _close(self):
        for descriptor in (self._file, self._folder):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._folder = None
