"""Readers: processes that read model files for the server within limits of time and memory, whatever a file does to them."""

import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

from stowplan_predictor.errors import GraphTooLarge, PredictorError
from stowplan_predictor.fusion.serving import FusionSource
from stowplan_predictor.pipelines.analyses import Analysed, ModelFile, Shapes
from stowplan_predictor.pipelines.cuts import RULES
from stowplan_predictor.serving import frames
from stowplan_predictor.serving.pools import PoolFull
from stowplan_predictor.serving.reading import REFUSALS, Reply, Request, Rules
from stowplan_predictor.serving.settings import Analysis

logger = logging.getLogger(__name__)

# Imports take half a second; a machine so busy that they take this long is not serving anybody.
_START_S: Final = 60.0
# Threads of libraries that would only take memory.
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class _Reader:
    """One process; starts at once, and is waited for when first asked."""

    def __init__(self, settings: Analysis) -> None:
        self._settings = settings
        self._connection, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "stowplan_predictor.serving.reading", str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=os.environ | _ONE_THREAD)
        self._ready = False

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def await_ready(self, fusions: tuple[FusionSource, ...]) -> None:
        if self._ready:
            return
        try:
            frames.send(self._connection, frames.encode(Rules(self._settings.limits, self._settings.memory_bytes, fusions)), timeout_s=_START_S)
            frames.receive(self._connection, _START_S)
        except (frames.PeerGone, frames.PeerLate) as error:
            raise PredictorError(f"a process that reads model files does not start: {error}") from error
        self._ready = True

    def ask(self, onnx_model: ModelFile, input_shapes: Shapes) -> tuple[Reply, bytearray]:
        deadline = time.monotonic() + self._settings.timeout_s
        frames.send(self._connection, frames.encode(Request(dict(input_shapes))), onnx_model, self._settings.timeout_s)
        head, body = frames.receive(self._connection, max(0.001, deadline - time.monotonic()))
        return frames.decode(head, Reply), body

    def kill(self) -> None:
        self._process.kill()

    def bury(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()


class Readers:
    """An `Analyst` that never reads a file in this process. Thread-safe: as many callers at a time as there are processes; more wait."""

    def __init__(self, settings: Analysis, processes: int) -> None:
        """Starts the processes, and does not wait for them."""
        self._settings = settings
        self._fusions: tuple[FusionSource, ...] = RULES
        self._lock = threading.Lock()
        self._closed = False
        self._all = {_Reader(settings) for _ in range(processes)}
        self._idle: queue.LifoQueue[_Reader] = queue.LifoQueue()
        for reader in self._all:
            self._idle.put(reader)
        self.replaced = 0
        """Processes that had to make way for a fresh one."""
        self.peak_bytes = 0
        """Most memory that a process told of so far."""

    def cutting_by(self, fusions: Sequence[FusionSource]) -> "Readers":
        """These processes, cutting graphs so. To be called before the first file is read: processes start while bundles are still being loaded."""
        self._fusions = tuple(fusions)
        return self

    def __call__(self, onnx_model: ModelFile, input_shapes: Shapes) -> Analysed:
        """Has a file read.

        Raises:
            GraphRefused: the file is broken, holds what nobody can judge, or takes more time or memory than the settings allow.
            PoolFull: the server is ending.
            PredictorError: no process can be started.
        """
        reader = self._idle.get()
        keep = False
        try:
            if not reader.alive:
                # It died while nobody asked it anything: no file is to blame.
                reader = self._replacement(reader)
            reader.await_ready(self._fusions)
            reply, body = reader.ask(onnx_model, input_shapes)
            keep = not reply.last
            self.peak_bytes = max(self.peak_bytes, reply.peak_bytes)
        except frames.PeerLate as error:
            raise GraphTooLarge(f"model: reading it takes longer than {self._settings.timeout_s:g} s; it is not analysed") from error
        except frames.PeerGone as error:
            if self._closed:
                raise PoolFull("this process is about to end; ask another") from error
            message = f"model: the process that read it ended (more than {self._settings.memory_bytes} bytes of memory, or damage); it is not analysed"
            raise GraphTooLarge(message) from error
        finally:
            self._idle.put(reader if keep else self._replacement(reader))
        if reply.refused:
            raise REFUSALS[reply.refused](reply.message)
        return frames.decode(body, Analysed)

    def await_ready(self) -> None:
        """Waits until every process that is idle can read.

        Raises:
            PredictorError: one cannot be started.
        """
        with self._lock:
            for reader in self._all:
                reader.await_ready(self._fusions)

    def close(self) -> None:
        """Ends all processes, whatever they do: whoever waits for one is told to ask elsewhere."""
        with self._lock:
            self._closed = True
            for reader in self._all:
                reader.kill()
        while True:
            try:
                self._idle.get_nowait().bury()
            except queue.Empty:
                return

    def _replacement(self, reader: _Reader) -> _Reader:
        reader.bury()
        with self._lock:
            if self._closed:
                raise PoolFull("this process is about to end; ask another")
            self._all.discard(reader)
            fresh = _Reader(self._settings)
            self._all.add(fresh)
            self.replaced += 1
        logger.info("a process that reads model files was replaced")
        return fresh
