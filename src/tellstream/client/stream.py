"""What an open stream tells, whichever way it is read."""

from tellstream.client.errors import StreamFailedError
from tellstream.client.session import Session
from tellstream.core.transcript import Transcript


class OpenStream:
    """The part of ``AsyncStream`` and ``Stream`` that reads nothing."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._entered = False
        self._closed = False

    @property
    def stream_id(self) -> str:
        """The server's id of the stream."""
        return self._session.stream_id

    @property
    def idempotency_key(self) -> str | None:
        """The key of the request that started the stream; None if it was resumed."""
        return self._session.idempotency_key

    @property
    def position(self) -> int:
        """Sequence number of the last event that was handed out; 0 for none."""
        return self._session.position

    @property
    def transcript(self) -> Transcript:
        """The fold of the events that were handed out; one already given does not change."""
        return self._session.folding.transcript

    def raise_for_error(self) -> None:
        """Raise if the stream ended with an error; its events are yielded all the same.

        Raises:
            StreamFailedError: it did.
        """
        error = self.transcript.error
        if error is not None:
            raise StreamFailedError(self.stream_id, error.error_type, error.message)

    def _enter(self) -> None:
        if self._entered:
            raise RuntimeError("a stream is opened once; make another one")
        self._entered = True

    def _check_open(self) -> None:
        if self._closed or not self._entered:
            raise RuntimeError("a stream can be read only inside its `with` block")
