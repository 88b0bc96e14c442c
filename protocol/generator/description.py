# SPDX-License-Identifier: MIT
"""Reads protocol/calls/*.calls and refuses what is wrong in it."""
import glob
import hashlib
import os
import re
import sys

SCALARS = {  # type: (wire C type, bytes, Driver API C type)
    "u8": ("uint32_t", 4, "unsigned char"),
    "u16": ("uint32_t", 4, "unsigned short"),
    "u32": ("uint32_t", 4, "unsigned int"),
    "i32": ("int32_t", 4, "int"),
    "f32": ("float", 4, "float"),
    "u64": ("uint64_t", 8, "unsigned long long"),
    "size": ("uint64_t", 8, "size_t"),
    "dptr": ("uint64_t", 8, "CUdeviceptr"),
}
KINDS = {  # kind: Driver API C type; `launchable` is a function or a kernel
    "context": "CUcontext", "stream": "CUstream", "event": "CUevent", "module": "CUmodule",
    "function": "CUfunction", "library": "CUlibrary", "kernel": "CUkernel",
    "launchable": "CUfunction", "user_object": "CUuserObject",
    "array": "CUarray", "linker": "struct vgpu_linker *",
    "mempool": "struct vgpu_pool *", "physical": "struct vgpu_physical *",
    "graph": "CUgraph", "node": "CUgraphNode", "exec": "CUgraphExec",
    "mipmap": "CUmipmappedArray", "texture": "void *", "surface": "void *",
    "texref": "CUtexref", "surfref": "CUsurfref",
}
ENTRIES = ("entry", "entry-stream", "entry-variable")
WORDS = ("no-context", "direct", "v2", "v1-v2") + ENTRIES
HASHED_HEADERS = ["registers.h", "mailbox.h", "device_status.h", "window.h", "channel.h", "info.h",
                  "copy.h", "jit.h", "tensor_map.h", "texture.h"]
ARGUMENT_BYTES = 64
BANNER = "/* Made by protocol/generate.py from protocol/calls. */\n"


def fail(text):
    sys.exit(f"protocol/calls: {text}")


class Extent:
    """What a call touches behind a device pointer: elements in one row, or in several."""

    def __init__(self, text):
        match = re.fullmatch(r"\[(\w+)(?:\*([1248]))?\](?:\[(\w+):(\w+)\])?", text)
        if not match:
            fail(f"cannot read the extent '{text}': it is [COUNT*BYTES] or "
                 "[COUNT*BYTES][ROWS:PITCH]")
        self.width, self.rows, self.pitch = match[1], match[3], match[4]
        self.element = int(match[2] or 1)

    counts = property(lambda self: [self.width] + ([self.rows] if self.rows else []))
    names = property(lambda self: self.counts + ([self.pitch] if self.pitch else []))


class Argument:
    PATTERN = re.compile(r"(?:(\S+)\s+)?(\w+)(?::(\w+))?\s+(\w+)((?:\[.*\])?)(>0|<=\w+)?")

    def __init__(self, text):
        match = self.PATTERN.fullmatch(text)
        if not match:
            fail(f"cannot read '{text}'")
        self.type, self.c_type, self.name = match[2], match[3], match[4]
        self.optional = match[1] == "out?"
        self.role = "out" if self.optional else match[1] or "in"
        self.extent = Extent(match[5]) if match[5] else None
        self.limit = match[6]
        if self.role not in ("in", "out", "new", "drop"):
            fail(f"'{text}': the role is in, out, out?, new or drop")
        if not (self.scalar or self.handle or self.type in ("bytes", "string")):
            fail(f"'{text}': unknown type")
        if self.extent and not (self.role == "in" and self.type == "dptr"):
            fail(f"'{text}': only a dptr that is passed in has an extent")
        if self.limit and not (self.role == "in" and self.scalar):
            fail(f"'{text}': only a number that is passed in has a limit")
        if self.c_type and not self.scalar:
            fail(f"'{text}': only a number has a C type")

    scalar = property(lambda self: self.type in SCALARS)
    handle = property(lambda self: self.type in KINDS)
    packed = property(lambda self: self.role != "out" and (self.scalar or self.handle))
    output = property(lambda self: self.role == "out" and self.scalar)
    payload = property(lambda self: self.role == "in" and self.type in ("bytes", "string"))
    reply = property(lambda self: self.role == "out" and self.type == "bytes")
    wire = property(lambda self: "uint32_t" if self.handle else SCALARS[self.type][0])
    size = property(lambda self: 4 if self.handle else SCALARS[self.type][1])
    api = property(lambda self: KINDS[self.type] if self.handle else
                   self.c_type or SCALARS[self.type][2])


class Call:
    def __init__(self, line):
        match = re.fullmatch(r"(\d+)\s+(\w+)\s+(sync|async)([\w\s-]*?)\s*:\s*(.*)", line)
        if not match:
            fail(f"cannot read '{line}'")
        self.id, self.name, self.kind = int(match[1]), match[2], match[3]
        self.words = match[4].split()
        self.arguments = [Argument(part.strip()) for part in match[5].split(",")]
        payloads = [a for a in self.arguments if a.payload]
        if len(payloads) == 2:  # where the first ends
            self.split = Argument(f"u32 {payloads[0].name}_bytes")
        else:
            self.split = None
        self.place_arguments()
        for word in self.words:
            if word not in WORDS:
                fail(f"{self.name}: '{word}' is no word of this language")
        if sum(a.output for a in self.arguments) > 4 or len(payloads) > 2:
            fail(f"{self.name}: too many outputs or payloads")
        if self.kind == "async" and any(a.role == "out" for a in self.arguments):
            fail(f"{self.name}: an asynchronous call has no outputs")
        self.check_entry()

    def place_arguments(self):
        offset = 0
        for argument in self.wire_arguments():
            offset = (offset + argument.size - 1) // argument.size * argument.size
            argument.offset = offset
            offset += argument.size
        if offset > ARGUMENT_BYTES:
            fail(f"{self.name}: {offset} bytes of arguments, {ARGUMENT_BYTES} fit")

    def wire_arguments(self):
        return [a for a in self.arguments if a.packed] + ([self.split] if self.split else [])

    def check_entry(self):
        """Refuses an entry point that could not be generated, and checks without one."""
        arguments = self.arguments
        sizes = [a.name for a in arguments if a.role == "in" and a.type == "size"]
        for a in arguments:
            if (a.extent or a.limit or a.optional) and not self.entry:
                fail(f"{self.name}: {a.name} is checked in an entry point, and there is none")
            if a.extent and self.entry != "entry-stream":
                fail(f"{self.name}: an extent needs entry-stream")
            for name in a.extent.names if a.extent else []:
                if name not in sizes:
                    fail(f"{self.name}: the extent of {a.name} needs an argument 'size {name}'")
        if not self.entry:
            return
        if sum(word in ENTRIES for word in self.words) > 1:
            fail(f"{self.name}: more than one kind of entry")
        if any(a.role == "new" or a.type in ("bytes", "context") for a in arguments):
            fail(f"{self.name}: an entry point with such arguments is written by hand")
        if self.entry == "entry-stream":
            if (self.sync or not self.name.endswith("Async") or arguments[-1].type != "stream" or
                    sum(a.handle for a in arguments) > 1):
                fail(f"{self.name}: entry-stream is for NAMEAsync, async, with a stream at the end")
        elif sum(a.handle for a in arguments) > 1 or any(
                a.type == "stream" and a.role == "in" for a in arguments):
            fail(f"{self.name}: this entry has one handle at most, and no stream to work in")
        if self.entry == "entry-variable" and not (
                [a.type for a in arguments if a.output] == ["dptr", "size"] and
                any(a.type in ("module", "library") for a in arguments)):
            fail(f"{self.name}: entry-variable has a dptr and a size as outputs, and an owner")

    sync = property(lambda self: self.kind == "sync")
    direct = property(lambda self: "direct" in self.words)
    needs_context = property(lambda self: "no-context" not in self.words)
    entry = property(lambda self: next((w for w in self.words if w in ENTRIES), None))


class Family:
    """Functions of one class that are written by hand (or, if refused, generated)."""

    def __init__(self, line):
        match = re.fullmatch(r"@(local|sync|async|refused)\s+([^:]+?)(?:\s*:\s*(.+))?", line)
        if not match or (match[1] == "refused") != (match[3] is not None):
            fail(f"cannot read '{line}'")
        self.kind, self.names, self.reason = match[1], match[2].split(), match[3]
        self.error = self.names.pop(0) if self.kind == "refused" else None


def read_lines(directory):
    """The lines of all files, without comments; one that ends with a backslash goes on."""
    lines = []
    for path in sorted(glob.glob(os.path.join(directory, "calls", "*.calls"))):
        with open(path, encoding="utf-8") as source:
            text = source.read().replace("\\\n", " ")
        lines += [line.split("#")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line]


def read_families(directory):
    return [Family(line) for line in read_lines(directory) if line.startswith("@")]


def read_calls(directory):
    calls = [Call(line) for line in read_lines(directory) if not line.startswith("@")]
    calls.sort(key=lambda call: call.id)
    for key in ("id", "name"):
        seen = [getattr(call, key) for call in calls]
        for value in seen:
            if seen.count(value) > 1:
                fail(f"{key} {value} is used twice")
    check_ids(directory, calls)
    return calls


def check_ids(directory, calls):
    """Ids are frozen: protocol/call-ids lists every one ever given; new ones are added there."""
    with open(os.path.join(directory, "call-ids"), encoding="utf-8") as source:
        frozen = dict(reversed(line.split()) for line in source if line.strip())
    by_id = {int(number): name for name, number in frozen.items()}
    for call in calls:
        if by_id.get(call.id) != call.name:
            fail(f"{call.id} {call.name} is not what protocol/call-ids says "
                 f"({call.id} {by_id.get(call.id, 'is not given yet: add it')})")


def protocol_hash(directory, calls):
    """Of what crosses between the sides only: not of what entry points check."""
    digest = hashlib.sha256()
    for call in calls:
        words = [f"{a.role} {a.type}" for a in call.arguments]
        digest.update(f"{call.id} {call.name} {call.kind} {','.join(words)}\n".encode())
    for name in HASHED_HEADERS:
        with open(os.path.join(directory, name), encoding="utf-8") as source:
            text = re.sub(r"/\*.*?\*/", "", source.read(), flags=re.S)
        digest.update(" ".join(text.split()).encode())
    return digest.hexdigest()[:16]
