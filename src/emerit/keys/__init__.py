"""Keys that sign for an account: encrypted files and where their passwords come from."""

from emerit.keys.keystore import KeyEntry, Keystore, default_folder
from emerit.keys.password import read_password

__all__ = ["KeyEntry", "Keystore", "default_folder", "read_password"]
