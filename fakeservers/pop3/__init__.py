"""The POP3 server: a protocol core without I/O (RFC 1939 and its extensions)."""
