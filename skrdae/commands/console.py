"""What a command tells, and how it is interrupted."""

import contextlib
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType


class CommandError(Exception):
    """What a command cannot do, in words for a shell.

    Parameters
    ----------
    message : str
        One line.
    status : int, default=1
        Exit status.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


class Console:
    """What a command tells, what it has written, and whether it was asked to stop.

    While it is entered, Ctrl-C raises KeyboardInterrupt at once, also where a fit would handle it
    otherwise. Libraries may swallow that: :meth:`check` raises it again.

    Parameters
    ----------
    name : str
        Of the command.
    of_process : bool, default=False
        Whether the process ends with the command, and with it all that Python would say to Ctrl-C.

    Attributes
    ----------
    verbose : bool
        Whether to tell what only a programmer wants to know.
    written : list of str or None
        Files that are written; None if nobody keeps the list.
    """

    def __init__(self, name: str, *, of_process: bool = False) -> None:
        self.name = name
        self._of_process = of_process
        self.verbose = False
        self.written: list[str] | None = []
        self._notes: list[str] = []
        self._reading: list[str] = []
        self._tells_reading = False
        self._interrupted = self._holds = self._over = False

    # ----------------------------------------------------------------------------- telling

    def note(self, text: str) -> None:
        """Keep a line to be told once all checks have passed."""
        self._notes.append(f"note: {text}")

    def warn(self, text: str) -> None:
        """Keep a line on what may spoil the result."""
        self._notes.append(f"warning: {text}")

    def read_with(self, flags: list[str], *, tell: bool) -> None:
        """Keep options that a file is read with though nobody gave them.

        They are told where something goes wrong, and otherwise only with ``tell=True``.
        """
        self._reading, self._tells_reading = flags, tell

    def tell(self) -> None:
        """Tell what was kept."""
        if self._reading and self._tells_reading:
            self.say(f"note: the file is read with {' '.join(self._reading)}")
        for line in self._notes:
            self.say(line)
        self._reading, self._notes = [], []

    def fail(self, text: str) -> None:
        """Tell what is wrong, with what was found out about the file."""
        read = f" (The file was read with {' '.join(self._reading)}.)" if self._reading else ""
        self.say(text + read)

    def say(self, text: str) -> None:
        """Print a line on standard error."""
        with contextlib.suppress(OSError, ValueError):  # nobody listens
            print(f"{self.name}: {one_line(text)}", file=sys.stderr)

    def tell_interrupted(self) -> None:
        """Print what was written until Ctrl-C was pressed."""
        known = self.written is not None
        files = ", ".join(self.written or []) or "nothing"
        self.say("interrupted" + (f"; {files} was written" if known else ""))

    def flush(self) -> None:
        """Let all that was told be read."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()

    def print_result(self, text: str) -> None:
        """Print the result on standard output."""
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        try:
            print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            sys.stdout = None  # which Python would try to write to once more
            raise CommandError(f"the result cannot be printed: {error.strerror}") from error

    def tell_traceback(self, error: Exception) -> None:
        """Print where an error comes from."""
        traceback.print_exception(error, file=sys.stderr)

    # ------------------------------------------------------------------------ being stopped

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handle Ctrl-C."""
        again, self._interrupted = self._interrupted, True
        if not self._over and (again or not self._holds):
            raise KeyboardInterrupt

    def interrupt_no_more(self) -> None:
        """Take no notice of Ctrl-C from now on."""
        self._over = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self._interrupted:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def writing(self, path: str) -> Iterator[None]:
        """Let a file be written to its end before Ctrl-C counts; if pressed twice, at once."""
        self.check()
        self._holds = True
        try:
            yield
            self.written = [*(self.written or []), path]
        except OSError as error:
            raise CommandError(f"{path} could not be written: {error.strerror or error}") from error
        finally:
            self._holds = False
        self.check()

    def __enter__(self) -> "Console":
        # Python lets the main thread alone have handlers; others put there are left in peace.
        self._handles = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self._handles:
            signal.signal(signal.SIGINT, self.interrupt)
        return self

    def __exit__(self, *error: object) -> None:
        if self._handles:
            after = signal.SIG_IGN if self._of_process else signal.default_int_handler
            signal.signal(signal.SIGINT, after)


def one_line(text: str) -> str:
    """Return a text with what a terminal would act on written out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
