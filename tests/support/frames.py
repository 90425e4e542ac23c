"""Frames of RFC 6455, sound and not, and what a server has to make of each.

In groups as the Autobahn test suite has them, which is for Python 2 and is not run here: 1 and
2 (messages, pings), 3 and 4 (reserved bits and opcodes), 5 (fragments), 6 (UTF-8), 7 (closing),
9 and 10 (large, many, and cut to pieces). 12 and 13 are compression, which is not negotiated.
Our server echoes nothing: a command that it understands is answered by `pong`, and one that it
does not by `bad_message`.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

Expected: TypeAlias = int | str | list[bytes]
"""The code that the server closes with, the word of its first answer, or the payloads of the
pong frames that it sends; after both of these the client closes with 1000."""

Case: TypeAlias = tuple[list[bytes], Expected]

LIMIT = 1024
"""Bytes of a message that the server takes."""

TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, bits: int = 0) -> bytes:
    """A masked frame of RFC 6455, 5.2, sound or not."""
    head = bytes([(0x80 if fin else 0) | bits | opcode])
    if len(payload) < 126:
        head += bytes([0x80 | len(payload)])
    else:
        head += bytes([0x80 | 126]) + struct.pack("!H", len(payload))
    mask = b"\x01\x02\x03\x04"
    return head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


def fragments(payload: bytes, size: int) -> list[bytes]:
    """A text message in frames of so many bytes."""
    parts = [payload[n : n + size] for n in range(0, len(payload), size)] or [b""]
    last = len(parts) - 1
    return [frame(MORE if n else TEXT, part, fin=n == last) for n, part in enumerate(parts)]


def command(size: int = 15, text: bytes = b"") -> bytes:
    """A command of so many bytes, or with that text, which is answered by `pong`."""
    if text or size > 15:
        return b'{"type":"ping","x":"%s"}' % (text or b"x" * (size - 22))
    return b'{"type":"ping"}'


PINGS = command()
SPLIT = "é".encode()

MESSAGES: dict[str, Case] = {
    "binary": ([frame(BINARY, b"\0\xff")], "bad_message"),
    "empty": ([frame(TEXT)], "bad_message"),
    "empty binary": ([frame(BINARY)], "bad_message"),
    "not JSON": ([frame(TEXT, b"{")], "bad_message"),
    "deep JSON": ([frame(TEXT, b"[" * 900)], "bad_message"),
    "no object": ([frame(TEXT, b"7")], "bad_message"),
    "names twice": ([frame(TEXT, b'{"type":"x","type":"ping"}')], "pong"),
    "unknown": ([frame(TEXT, b'{"type":"drop table"}')], "unknown_type"),
    **{f"text of {n}": ([frame(TEXT, command(n))], "pong") for n in (125, 126, 127, 128, LIMIT)},
    **{
        f"binary of {n}": ([frame(BINARY, b"\xfe" * n)], "bad_message")
        for n in (125, 126, 127, 128, LIMIT)
    },
}
PINGING: dict[str, Case] = {
    "a ping": ([frame(PING)], [b""]),
    "a ping with text": ([frame(PING, b"hello")], [b"hello"]),
    "a ping with bytes": ([frame(PING, b"\0\xff\xfe\xfd")], [b"\0\xff\xfe\xfd"]),
    "a ping of 125": ([frame(PING, b"\xfe" * 125)], [b"\xfe" * 125]),
    "a long ping": ([frame(PING, b"x" * 126)], 1002),
    "ten pings": ([frame(PING, b"%d" % n) for n in range(10)], [b"%d" % n for n in range(10)]),
    "a pong nobody asked for, and a ping": ([frame(PONG, b"x"), frame(PING, b"y")], [b"y"]),
    "pongs nobody asked for": ([frame(PONG), frame(PONG, b"x"), frame(TEXT, PINGS)], "pong"),
    "a long pong": ([frame(PONG, b"x" * 126)], 1002),
}
RESERVED: dict[str, Case] = {
    "reserved bit 1, as if compressed": ([frame(TEXT, PINGS, bits=0x40)], 1002),
    "reserved bit 2": ([frame(TEXT, PINGS, bits=0x20)], 1002),
    "reserved bit 3": ([frame(PING, bits=0x10)], 1002),
    "all reserved bits": ([frame(BINARY, b"x", bits=0x70)], 1002),
    "a reserved bit in a close": ([frame(CLOSE, bits=0x40)], 1002),
    "a reserved bit after a good frame": (
        [frame(TEXT, PINGS), frame(TEXT, PINGS, bits=0x50), frame(PING)],
        1002,
    ),
    **{f"opcode {n}": ([frame(n)], 1002) for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "opcode 5 after a good frame": ([frame(TEXT, PINGS), frame(5, b"x"), frame(PING)], 1002),
    "not masked": ([b"\x81\x0f" + PINGS], 1002),
}
FRAGMENTED: dict[str, Case] = {
    "a byte a frame": ([*fragments(PINGS, 1)], "pong"),
    "an empty last frame": ([frame(TEXT, PINGS, fin=False), frame(MORE)], "pong"),
    "nothing but empty frames": (
        [frame(TEXT, fin=False), frame(MORE, fin=False), frame(MORE)],
        "bad_message",
    ),
    "binary in fragments": ([frame(BINARY, b"\0", fin=False), frame(MORE, b"\xff")], "bad_message"),
    "a ping between fragments": (
        [frame(TEXT, PINGS[:5], fin=False), frame(PING, b"x"), frame(MORE, PINGS[5:])],
        "pong",
    ),
    "a ping in fragments": ([frame(PING, b"x", fin=False), frame(MORE, b"y")], 1002),
    "a pong in fragments": ([frame(PONG, b"x", fin=False), frame(MORE, b"y")], 1002),
    "nothing to continue": ([frame(MORE, b"x")], 1002),
    "nothing to continue, and more to come": ([frame(MORE, b"x", fin=False)], 1002),
    "nothing to continue after a message": ([*fragments(PINGS, 5), frame(MORE, b"x")], 1002),
    "text within fragments": ([frame(TEXT, b"{", fin=False), frame(TEXT, b"}")], 1002),
    "binary within fragments": ([frame(TEXT, b"{", fin=False), frame(BINARY, b"}")], 1002),
}

WELL = ["κόσμε", "\u007f\u0080", "\u07ff\u0800", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\uffff",
        "\U00010000", "\U0001fffe", "\U0010ffff", "\u2028\u2029", "\ufeff"]  # fmt: skip
ILL = [b"\x80", b"\xbf", b"\xc0", b"\xfe", b"\xff", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf",
       b"\xe0\x9f\xbf", b"\xf0\x80\x80\xaf", b"\xf0\x8f\xbf\xbf", b"\xf8\x88\x80\x80\x80",
       b"\xfc\x84\x80\x80\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80",
       b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xce", b"\xe2\x82", b"\xf0\x9f\x98",
       b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"]  # fmt: skip
UTF8: dict[str, Case] = {
    **{ascii(text): ([frame(TEXT, command(text=text.encode()))], "pong") for text in WELL},
    **{f"{t!a}, cut": (fragments(command(text=t.encode()), 1), "pong") for t in WELL},
    **{repr(text): ([frame(TEXT, command(text=text))], 1007) for text in ILL},
    **{f"{text!r}, cut": (fragments(command(text=text), 1), 1007) for text in ILL},
    "a character split between fragments": (
        [frame(TEXT, b'"' + SPLIT[:1], fin=False), frame(MORE, SPLIT[1:] + b'"')],
        "bad_message",
    ),
    "not UTF-8 in the second fragment": (
        [frame(TEXT, b"{", fin=False), frame(MORE, b"\xc0\xaf")],
        1007,
    ),
}
GOOD = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
BAD = (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
CLOSING: dict[str, Case] = {
    **{f"a close with {code}": ([close(code)], code) for code in GOOD},
    **{f"a close with {code}, which is none": ([close(code)], 1002) for code in BAD},
    "a close of one byte": ([frame(CLOSE, b"\x03")], 1002),
    "a close without a code": ([frame(CLOSE)], 1005),
    "a close with a reason": ([close(1000, b"I go")], 1000),
    "a close with a reason of 123 bytes": ([close(1000, b"x" * 123)], 1000),
    "a close with a reason of 124 bytes": ([close(1000, b"x" * 124)], 1002),
    "a close that is not UTF-8": ([close(1000, b"\xff")], 1007),
    "two closes": ([close(1000), close(1001)], 1000),
    "a ping after a close": ([close(1000), frame(PING, b"x")], 1000),
    "a message after a close": ([close(1000), frame(TEXT, PINGS)], 1000),
    "a close within fragments": (
        [frame(TEXT, PINGS[:5], fin=False), close(1000), frame(MORE, PINGS[5:])],
        1002,
    ),
    "garbage after a close": ([close(1000), b"\xff" * 100], 1000),
}
LARGE: dict[str, Case] = {
    "too large": ([frame(TEXT, b" " * (LIMIT + 1))], 1009),
    "too large in fragments": (
        [frame(TEXT, b" " * 600, fin=False), frame(MORE, b" " * 600)],
        1009,
    ),
    "too large by the last byte of many fragments": (fragments(b" " * (LIMIT + 1), 1), 1009),
    "a length of 2^63": ([b"\x81\xff" + b"\xff" * 8 + b"\0" * 4], 1009),
    "a length of 2^62": ([b"\x81\xff\x40" + b"\0" * 7 + b"\0" * 4], 1009),
    **{
        f"the largest in frames of {n}": (fragments(command(LIMIT), n), "pong")
        for n in (1, 64, 256, 1000)
    },
    "five hundred pings": ([frame(PING, b"x" * 64)] * 500, [b"x" * 64] * 500),
}
GROUPS = {
    "1 messages": MESSAGES,
    "2 pings": PINGING,
    "3 and 4 reserved": RESERVED,
    "5 fragments": FRAGMENTED,
    "6 UTF-8": UTF8,
    "7 closing": CLOSING,
    "9 and 10 large": LARGE,
}


def received(data: bytes) -> list[tuple[int, bytes]]:
    """The opcode and payload of each of a server's frames that are there as a whole."""
    found = []
    while len(data) >= 2:
        length, start = data[1], 2
        if length == 126:
            length, start = int.from_bytes(data[2:4]), 4
        if len(data) < start + length:
            break
        found.append((data[0] & 0x0F, data[start : start + length]))
        data = data[start + length :]
    return found
