"""``/v1/admin``: the acts of administration over HTTP, for tokens with the scope ``admin``."""
