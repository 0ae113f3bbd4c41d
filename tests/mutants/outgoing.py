"""Defects in sending."""

from __future__ import annotations

import outgoing_batch
import outgoing_login
import outgoing_message
import outgoing_queue
import outgoing_replies
import outgoing_tls

PARTS = (outgoing_tls, outgoing_login, outgoing_message, outgoing_replies, outgoing_batch, outgoing_queue)
