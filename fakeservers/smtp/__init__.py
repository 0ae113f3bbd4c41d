"""The SMTP server: `session.SmtpSession` is the core, standing on aiosmtpd's commands and hooks."""
