"""Encryption of the signing keys in the store, with the master key of the data directory."""

from tellstream.storage.encrypted import SIGNING_KEY
from tellstream.storage.keyring import SealError
from tellstream.storage.master_key import MasterKey


class KeySealing:
    """Seals signing keys, each bound to its own row.

    Args:
        master_key: of the data directory.
    """

    def __init__(self, master_key: MasterKey) -> None:
        self._master_key = master_key

    def seal(self, kid: str, text: str) -> str:
        """Encrypt the key called ``kid``.

        Raises:
            StoreSetupError: the master key cannot be used.
        """
        return self._master_key.keyring().encrypt(text, SIGNING_KEY.place(None, kid))

    def unseal(self, kid: str, sealed: str) -> str:
        """Decrypt it.

        Raises:
            ValueError: it cannot be decrypted with this master key.
            StoreSetupError: the master key cannot be used.
        """
        try:
            return self._master_key.keyring().decrypt(sealed, SIGNING_KEY.place(None, kid))
        except SealError as error:
            raise ValueError(str(error)) from error
