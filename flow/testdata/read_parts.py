"""Reads messages with Python's email package: a reader that shares no code with ours.

Paths come on standard input, one a line; for each, one line of JSON goes to
standard output: its leaf parts in order, and what the parser complained about.
"""

import base64
import email.message
import email.parser
import email.policy
import hashlib
import json
import sys


class Entity(email.message.Message):
    """Keeps an attached message as the bytes it is: one attachment, no tree.

    The parser descends into what calls itself "message"; every other type is a
    leaf to it.
    """

    def get_content_maintype(self):
        main = super().get_content_maintype()
        return "x-leaf" if main == "message" else main


def leaves(entity, boundary=None):
    """Yields every leaf, with the boundary of the multipart around it."""
    payload = entity.get_payload()
    if isinstance(payload, list):
        inside = entity.get_boundary()
        for part in payload:
            yield from leaves(part, inside)
    else:
        yield entity, boundary


def defects(entity):
    found = [type(d).__name__ for d in entity.defects]
    payload = entity.get_payload()
    if isinstance(payload, list):
        for part in payload:
            found += defects(part)
    return found


def filename(entity):
    try:
        return entity.get_filename() or ""
    except Exception as e:  # the parser of parameters gives up on some
        return f"({type(e).__name__})"


def describe(entity, boundary):
    content = entity.get_payload(decode=True) or b""
    out = {
        "type": entity.get_content_type(),
        "name": filename(entity),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "boundary": boundary or "",
    }
    if out["type"] in ("text/plain", "text/html"):
        out["text"] = base64.b64encode(content).decode("ascii")
    return out


def read(path):
    with open(path, "rb") as f:
        raw = f.read()
    parser = email.parser.BytesParser(lambda policy=None: Entity(policy or email.policy.compat32), policy=email.policy.compat32)
    message = parser.parsebytes(raw)
    return {
        "leaves": [describe(e, b) for e, b in leaves(message)],
        "defects": defects(message),
    }


def main():
    for line in sys.stdin:
        try:
            result = read(line.rstrip("\n"))
        except Exception as e:
            result = {"error": f"{type(e).__name__}: {e}"}
        json.dump(result, sys.stdout, ensure_ascii=True)
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
