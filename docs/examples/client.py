"""A mail client under test in Python: smtplib behind the client command protocol."""

import base64, json, re, smtplib, ssl, sys

FEATURES = ["send", "starttls", "implicit-tls", "auth-plain", "auth-login"]
KINDS = [(smtplib.SMTPAuthenticationError, "authentication"), (smtplib.SMTPNotSupportedError, "tls-required"),
         (ssl.SSLCertVerificationError, "tls-certificate"), (ssl.SSLError, "tls-handshake"), (TimeoutError, "timeout"),
         (smtplib.SMTPServerDisconnected, "disconnected"), (smtplib.SMTPConnectError, "connect"), (OSError, "connect")]


def result(message: dict, error: Exception | None) -> dict:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text, category = *next(iter(error.recipients.values())), "recipient-refused"
    else:
        code, text = getattr(error, "smtp_code", None), getattr(error, "smtp_error", str(error))
        stage = {smtplib.SMTPSenderRefused: "sender-refused", smtplib.SMTPDataError: "message-refused"}.get(type(error))
        category = stage or next((name for kind, name in KINDS if isinstance(error, kind)), "protocol")
    if code and (code < 500 or code == 530):
        category = "temporary" if code < 500 else "tls-required" if b"STARTTLS" in text else "authentication"
    later = category in ("temporary", "timeout", "connect", "disconnected", "tls-handshake")
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    enhanced = re.match(r"[245]\.\d+\.\d+", text)
    said = {"category": category, "code": code if code and code > 0 else None, "enhanced": enhanced and enhanced[0],
            "text": text}
    outcome = "sent" if error is None else "deferred" if later else "failed"
    return {"message": message["id"], "outcome": outcome, "error": said if error else None}


def deliver(out: dict, message: dict) -> None:
    context = ssl.create_default_context(cafile=out["ca_file"])
    place = {"host": out["host"], "port": out["port"], "timeout": out["timeout"], "local_hostname": out["ehlo_name"]}
    secure = out["security"] == "implicit"
    with smtplib.SMTP_SSL(context=context, **place) if secure else smtplib.SMTP(**place) as smtp:
        if out["security"] == "starttls":
            smtp.starttls(context=context)
        if out["auth"] != "none":
            smtp.login(out["username"], out["password"])
        smtp.sendmail(message.get("from", ""), message["to"], base64.b64decode(message["eml_base64"]))


for line in sys.stdin:
    request = json.loads(line)
    reply = {"protocol": 1, "name": "smtplib-example", "version": "1", "features": FEATURES, "results": []}
    for message in request.get("messages", []):
        try:
            problem = deliver(request["settings"]["outgoing"], message)
        except (OSError, ValueError, smtplib.SMTPException) as error:
            problem = error
        reply["results"].append(result(message, problem))
    print(json.dumps({"id": request["id"], **reply}), flush=True)
