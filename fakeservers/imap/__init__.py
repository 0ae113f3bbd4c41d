"""The IMAP4rev1 server (RFC 3501): a protocol core without I/O; `session.ImapSession` is its door."""
