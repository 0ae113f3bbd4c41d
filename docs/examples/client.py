"""A mail client under test in Python: smtplib behind the client command protocol."""

import base64, json, smtplib, ssl, sys

FEATURES = ["send", "starttls", "implicit-tls", "auth-plain", "auth-login"]


def failed(code: int, text: bytes, recipients: bool = False) -> dict:
    category = "temporary" if code < 500 else "recipient-refused" if recipients else "message-refused"
    return {"category": category, "code": code, "enhanced": None, "text": text.decode("utf-8", "replace")}


def connect(out: dict) -> smtplib.SMTP:
    context = ssl.create_default_context(cafile=out["ca_file"])
    place = {"host": out["host"], "port": out["port"], "timeout": out["timeout"], "local_hostname": out["ehlo_name"]}
    smtp = smtplib.SMTP_SSL(context=context, **place) if out["security"] == "implicit" else smtplib.SMTP(**place)
    if out["security"] == "starttls":
        smtp.starttls(context=context)
    if out["auth"] != "none":
        smtp.login(out["username"], out["password"])
    return smtp


def send(request: dict) -> dict:
    results = []
    with connect(request["settings"]["outgoing"]) as smtp:
        for message in request["messages"]:
            error, eml = None, base64.b64decode(message["eml_base64"])
            try:
                smtp.sendmail(message.get("from", ""), message["to"], eml)
            except smtplib.SMTPRecipientsRefused as refused:
                error = failed(*next(iter(refused.recipients.values())), recipients=True)
            except smtplib.SMTPResponseException as answer:
                error = failed(answer.smtp_code, answer.smtp_error)
            outcome = "sent" if error is None else "deferred" if error["code"] < 500 else "failed"
            results.append({"message": message["id"], "outcome": outcome, "error": error})
    return {"results": results, "rate_limited_until": None}


for line in sys.stdin:
    request = json.loads(line)
    hello = {"protocol": 1, "name": "smtplib-example", "version": "1", "features": FEATURES}
    print(json.dumps({"id": request["id"], **(hello if request["action"] == "hello" else send(request))}), flush=True)
